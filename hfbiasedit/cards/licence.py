"""The licence of a base model, read from its card without going to the network.

An edited model stays under the licence of the model it was made from. Where the card of the
base cannot be read (a gated repository, a local checkpoint without one) nothing is assumed.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.cards.identifiers import IDENTIFIERS, LISTED
from hfbiasedit.documents.names import is_hub_id
from hfbiasedit.errors import UsageError
from hfbiasedit.resources import DEMO, demo_model_path


@dataclass(frozen=True)
class Licence:
    """A licence as the Hub's metadata name it; `name` and `link` belong to `other`."""

    identifier: str
    name: str | None = None
    link: str | None = None
    inherited: bool = False

    @property
    def metadata(self) -> dict[str, Any]:
        """The keys for a card's metadata."""
        found = {"license": self.identifier, "license_name": self.name, "license_link": self.link}
        return {key: value for key, value in found.items() if value}


def chosen_licence(given: str | None, base: Licence | None) -> Licence | None:
    """The licence `given` by the user, else that of the base model.

    Raises:
        UsageError: `given` is neither an identifier of the Hub nor what the base model's card says.
    """
    if given is None:
        return base
    name = given.strip()
    if base is not None and name == base.identifier:
        return base  # with its name and link, without which `other` says nothing
    if name not in IDENTIFIERS:
        near = difflib.get_close_matches(name.lower(), IDENTIFIERS)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"{given!r} is no licence identifier of the Hub; {guess}give one of {LISTED}, other "
            "for a licence that is not there, or leave --license out for the base model's"
        )
    return Licence(name)


def find_licence(model: str, revision: str | None) -> Licence | None:
    """The licence that the card of a base model names; None where nothing can be read."""
    header = _base_metadata(model, revision)
    identifier = header.get("license")
    if isinstance(identifier, list):  # the Hub accepts a list of one
        identifier = identifier[0] if len(identifier) == 1 else None
    if not isinstance(identifier, str) or not identifier.strip():
        return None
    name, link = (_text(header.get(key)) for key in ("license_name", "license_link"))
    if link and revision is not None and "://" not in link:
        # A file of the base repository, which is not part of this one.
        link = f"https://huggingface.co/{model}/blob/{revision}/{link}"
    return Licence(identifier.strip(), name, link, inherited=True)


def _text(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def _base_metadata(model: str, revision: str | None) -> dict[str, Any]:
    """The YAML header of the base model's card: a local directory's or a cached one."""
    if revision is None and model == DEMO:
        return read_header(demo_model_path() / "README.md")
    if revision is None or not is_hub_id(model):
        return read_header(Path(model).expanduser() / "README.md")
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model, "README.md", revision=revision)
    return read_header(Path(cached)) if isinstance(cached, str) else {}


def read_header(path: Path) -> dict[str, Any]:
    """The metadata of a card; empty where there is no card or no readable header."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        return metadata_load(path) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
