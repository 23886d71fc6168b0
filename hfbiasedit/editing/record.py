"""What `edit.json` says about an edit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import torch

from hfbiasedit.codegenbias.configs import config_name, parse_config
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.codegenbias.template_facts import template_facts
from hfbiasedit.documents import runs
from hfbiasedit.documents.structures.edit_document import Edit, Split, TemplateFacts
from hfbiasedit.editing.attempt import Attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.constants import chosen_constants
from hfbiasedit.editing.judging import outcome
from hfbiasedit.editing.material.gathering import Material
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.versions import __version__, versions

if TYPE_CHECKING:
    from hfbiasedit.patches.patch import Patch


def edit_document(
    loaded: LoadedModel,
    config: EditConfig,
    material: Material,
    found: Attempt,
    splits: dict[str, Split],
    patch: Patch,
) -> Edit:
    """`edit.json`, but for the command, times and sizes, which are known at the end."""
    prompts, selection = material.prompts, found.selection
    return {
        "schema": "hfbiasedit.edit/1",
        "version": __version__,
        "versions": versions(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": "",
        "model": {
            "id": loaded.source.id,
            "revision": loaded.source.commit,
            "digest": loaded.identity,
            "dtype": loaded.dtype,
            "parameters": loaded.parameters,
            "architecture": type(loaded.model).__name__,
        },
        "reference": prompts.records[0].reference,
        "dataset": {
            "config": _learnt_from(config),
            "edit_prompts": len(material.train) + len(material.more),
            "dev_prompts": len(material.dev),
            "digest": material.digest,
        },
        "granularity": config.granularity,
        "budget": {
            "requested": config.chosen_budget if config.selection is None else "selection file",
            "items": selection.items,
            "of": selection.of,
        },
        "saliency": selection.origin.get("saliency", config.saliency),
        "options": outcome.options(config),
        "seed": config.seed,
        "threads": torch.get_num_threads(),
        "selection": selection.summary(loaded.model),
        "edited": selection.summary(loaded.model, found.changed()),
        "splits": splits,
        "kl": found.kl_summary(config.allowed_kl),
        "history": found.outcome.history,
        "curve": found.curve,
        "constants": chosen_constants(config.granularity),
        "steps": found.outcome.steps,
        "stopped": found.outcome.stopped,
        "anchor": {"name": material.anchor.name, "sha256": material.anchor.sha256},
        "patch": {
            "file": runs.PATCH,
            "digest": patch.digest,
            "bytes": 0,
            "tensors": len(patch.tensors),
            "weights": patch.weights,
        },
        "seconds": {"locate": 0, "edit": 0, "audit": 0, "total": 0},
        "peak_memory_bytes": 0,
    }


def templates_of(records: Sequence[Record], material: Material) -> list[TemplateFacts]:
    """The `templates` of `edit.json`: those of `records`, beside the prompts of the edit split."""
    edited = [material.prompts.records[index] for index in material.train]
    return [
        {
            "template": row.template,
            "prompts": row.prompts,
            "vocabularies": list(row.vocabularies),
            "languages": list(row.languages),
            "surface": row.surface,
            "template_seen": row.template_seen,
            "vocabulary_seen": row.vocabulary_seen,
            "language_seen": row.language_seen,
            "surface_seen": row.surface_seen,
        }
        for row in template_facts(records, edited)
    ]


def _learnt_from(config: EditConfig) -> str:
    """The configuration of the prompts of the edit and dev splits."""
    if config.prompts is not None:
        return "custom"
    return config_name("full", parse_config(config.audit)[1])
