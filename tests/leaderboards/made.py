"""Audits to be ranked: one world, models that differ from it by known amounts."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.reports import fixtures


@cache
def _world() -> fixtures.World:
    return fixtures.World(60)


@cache
def _audit(offset: float) -> dict[str, Any]:
    world = _world()
    shares = np.clip(world.factual[:, None] - offset + 0 * world.before, 0, 1)
    return fixtures.audit_document(world, shares)


def audit(name: str, offset: float = 0.2, **changes: Any) -> dict[str, Any]:
    """An audit of a model that writes women less often than the reference by `offset`."""
    made = copy.deepcopy(_audit(offset))
    made["model"] |= {"id": name, "digest": f"sha256:{name}", "architecture": "LlamaForCausalLM"}
    return made | changes


def ability(document: dict[str, Any], byte: float, passed: float | None = None) -> dict[str, Any]:
    """Coding ability of the model of an audit: perplexity per byte, pass@1 of HumanEval."""
    made = fixtures.ability_document()
    made["model"], made["patch"] = copy.deepcopy(document["model"]), None
    del made["perplexity"]["after"], made["humaneval"]["after"], made["syntax"]
    made["perplexity"]["before"]["byte_perplexity"] = byte
    if passed is None:
        del made["humaneval"]
    else:
        made["humaneval"]["before"]["pass@1"] = passed
    return made


def write(folder: Path, document: dict[str, Any], beside: dict[str, Any] | None = None) -> Path:
    """The output of `audit --out`, with a report on ability."""
    import json

    fixtures.write_audit(folder, document)
    if beside is not None:
        (folder / "ability.json").write_text(json.dumps(beside))
    return folder
