"""The program's version and those of the libraries that decide its numbers."""

from __future__ import annotations

__version__ = "0.1.0"

_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "datasets",
    "numpy",
)


def versions() -> dict[str, str]:
    """Name to version of Python, of this program and of the libraries behind its numbers."""
    import platform
    from importlib import metadata

    found = {"python": platform.python_version(), "hfbiasedit": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
