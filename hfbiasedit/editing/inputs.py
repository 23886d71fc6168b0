"""What an edit is asked with, read before a model is loaded: a wrong name costs a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.editing.config import EditConfig, LocateConfig
from hfbiasedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfbiasedit.editing.weights.selection import Selection
    from hfbiasedit.models.loading import LoadedModel


def check_inputs(config: LocateConfig) -> None:
    """Read the prompts, the general code and the selection that the options name.

    A data set of the Hub is read when it is needed.

    Raises:
        BiasEditError: one of them is missing or cannot be used.
    """
    from hfbiasedit.codegenbias.prompts import load_prompts
    from hfbiasedit.texts.anchor import check_anchor

    if config.blocks not in ("auto", "all"):
        _numbers(config.blocks)
    load_prompts(
        "full",
        "edit",
        reference=config.reference,
        prompts=config.prompts,
        professions=config.professions,
        limit=1,
        seed=config.seed,
    )
    check_anchor(config.anchor)
    if isinstance(config, EditConfig) and config.selection is not None:
        from hfbiasedit.editing.weights.selection import Selection

        Selection.load(Path(config.selection))
    if isinstance(config, EditConfig) and config.check_quantized:
        from hfbiasedit.models.quantising import check_quantiser

        check_quantiser()


def check_blocks(loaded: LoadedModel, config: LocateConfig) -> None:
    """Refuse blocks that the model does not have; before the work, right after loading.

    Raises:
        UsageError: no such blocks.
    """
    from hfbiasedit.models.architecture import projections

    if config.blocks not in ("auto", "all"):
        numbered_blocks(config.blocks, 1 + max(item.block for item in projections(loaded.model)))


def check_weights(
    loaded: LoadedModel, config: EditConfig, selection: Selection | None = None
) -> None:
    """Refuse a model whose weights cannot be edited and stored; before the work.

    Weights that the options leave alone may be stored in any way.

    Raises:
        BiasEditError: it is quantised, or memory does not hold its weights as they are stored.
    """
    from hfbiasedit.models.architecture import projections, refuse_quantised
    from hfbiasedit.models.stored import check_exact

    refuse_quantised(loaded.model)
    if selection is not None:
        names = list(selection.slices)
    elif config.include:
        names = [name for name, _ in loaded.model.named_parameters()]
    else:
        found = projections(loaded.model)
        allowed: Sequence[int] = range(1 + max(item.block for item in found))
        if config.blocks not in ("auto", "all"):
            allowed = numbered_blocks(config.blocks, len(allowed))
        names = [item.name for item in found if item.block in allowed]
    check_exact(loaded, names)


def numbered_blocks(wanted: str, count: int) -> list[int]:
    """The numbers that a list such as `0,3-7` means in a model of `count` blocks.

    Raises:
        UsageError: not such a list, or beyond the model's blocks.
    """
    chosen = _numbers(wanted)
    if not chosen or max(chosen) >= count or min(chosen) < 0:
        raise UsageError(f"blocks {wanted!r} are not all among the model's blocks 0-{count - 1}")
    return sorted(chosen)


def _numbers(wanted: str) -> set[int]:
    chosen: set[int] = set()
    try:
        for piece in wanted.split(","):
            first, _, last = piece.partition("-")
            chosen.update(range(int(first), int(last or first) + 1))
    except ValueError:
        raise UsageError(f"blocks {wanted!r} is not auto, all, or a list such as 0,3-7") from None
    return chosen
