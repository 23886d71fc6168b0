"""Where the files that travel with the package are: data, templates, the demo model."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# What the model that ships with the package is called wherever a model is named.
DEMO = "demo"


def data_path(*parts: str) -> Path:
    """A file under `hfbiasedit/data/`."""
    return PACKAGE.joinpath("data", *parts)


def template_path(name: str) -> Path:
    """A jinja2 template: inside the wheel, or `templates/` of a source checkout."""
    installed = PACKAGE / "templates" / name
    return installed if installed.exists() else PACKAGE.parent / "templates" / name


def in_package(path: Path) -> bool:
    """Whether a file or directory came with the package, and so is nobody's to change."""
    return path.resolve().is_relative_to(PACKAGE)


def demo_model_path() -> Path:
    """The checkpoint directory of the demo model."""
    return PACKAGE / "demo_model"
