"""Telling a card that this program wrote from one that somebody wrote or changed.

A generated card carries a comment with the options it was rendered with and a digest of the
rest of its text. A card whose digest fits can be rendered again without losing anything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from hfbiasedit.files import canonical_json

MARKER = "<!-- made by hfbiasedit -->"
_SEALED = re.compile(r"<!-- made by hfbiasedit (\{.*?\}) sha256:([0-9a-f]{64}) -->")


def seal(text: str, options: Mapping[str, Any]) -> str:
    """Put options and digest into the card's `MARKER`; a text without one stays as it is."""
    if MARKER not in text:
        return text
    written = canonical_json(dict(options))
    mark = f"<!-- made by hfbiasedit {written} sha256:{_digest(text)} -->"
    return text.replace(MARKER, mark, 1)


def opened_seal(text: str) -> dict[str, Any] | None:
    """The options of a sealed card; None where there is no seal or the text was changed."""
    match = _SEALED.search(text)
    if match is None:
        return None
    # An editor may have changed the line ends on the way.
    plain = text.replace("\r\n", "\n").replace(match.group(0), MARKER, 1)
    if _digest(plain) != match.group(2):
        return None
    try:
        options = json.loads(match.group(1))
    except ValueError:
        return None
    return options if isinstance(options, dict) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8")).hexdigest()
