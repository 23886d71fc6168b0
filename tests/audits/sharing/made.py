"""Audits of the shipped prompts, made up but for their digest."""

from __future__ import annotations

import copy
from functools import cache

from hfbiasedit.codegenbias.prompts import load_prompts
from tests.reports import fixtures

MODEL = "acme/tiny-coder"


@cache
def _standard() -> tuple[dict, str]:
    return fixtures.documents(40)["before"], load_prompts("quick", "test").digest


def audit(commit: str | None = None, **changes) -> dict:
    """An audit of quick/test of `MODEL` at a commit."""
    document, digest = copy.deepcopy(_standard())
    document["model"] |= {"id": MODEL, "revision": commit}
    return document | {"prompts_digest": digest} | changes
