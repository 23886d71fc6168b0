"""Where the work of an edit or a sweep is kept, and what it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfbiasedit import processes
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.judging import outcome
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.material.gathering import Material
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import sha256_file
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.versions import versions


def work_beside(
    out: Path | None, model: Any, config: EditConfig, asked: outcome.Questions, resume: bool
) -> Kept:
    """The work directory beside an output, for a model from disk or the Hub and one process.

    Raises:
        BiasEditError: there is nothing to resume, or it is of other options or prompts.
    """
    if out is None or isinstance(model, LoadedModel) or processes.processes() > 1:
        if resume:
            raise BiasEditError(
                "resuming needs an output, a model from disk or the Hub, and a single process"
            )
        return Kept()
    kept = Kept.beside(out, resume)
    digests = [part.digest for part in (asked.audit, asked.beside) if part is not None]
    kept.claim(options={"model": str(model), **outcome.deciding_options(config)}, prompts=digests)
    if config.selection is not None:  # whatever its file is called
        kept.claim(selection=sha256_file(config.selection))
    return kept


def claim_model(kept: Kept, loaded: LoadedModel, *, writes: bool = False) -> None:
    """Say which model the work is of.

    Args:
        kept: the work. loaded: the model. writes: whether what it writes is kept too.

    Raises:
        BiasEditError: it is of another one.
    """
    if kept.folder is not None:  # the identity of a local model is a digest of its files
        if writes:  # generation_config.json is not one of them
            from hfbiasedit.abilities.generating.generation import end_tokens

            kept.claim(ends=end_tokens(loaded))
        kept.claim(
            weights=loaded.identity,
            dtype=loaded.dtype,
            device=str(loaded.device),
            versions=versions(),
        )
        kept.begin()


def claim_material(kept: Kept, material: Material) -> None:
    """Say which prompts and which code the work has learnt from.

    Raises:
        BiasEditError: they are others.
    """
    kept.claim(material=material.digest, anchor=material.anchor.sha256)
    kept.begin()
