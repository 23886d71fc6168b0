"""`edit --dry-run`: what an edit would cost, or why it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hfbiasedit.documents.structures.forecast_document import Forecast, ForecastBudget, ForecastPass
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.editing.config import EditConfig, EditOverrides
from hfbiasedit.editing.forecasting import cost
from hfbiasedit.editing.forecasting.calibration import calibrate
from hfbiasedit.editing.forecasting.counts import Selected, selections
from hfbiasedit.editing.forecasting.memory import lacking, memory_of
from hfbiasedit.editing.forecasting.passes import Pass, Sizes, passes_of, sizes_of
from hfbiasedit.editing.forecasting.widths import Widths
from hfbiasedit.editing.running.recording import obstacle
from hfbiasedit.editing.selecting.allowance import check_asked
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.levels import LEVELS
from hfbiasedit.models.architecture import decoder_blocks, projections
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.models.outline import outline
from hfbiasedit.models.placement import parse_device
from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack


def forecast(
    model: str | Path | LoadedModel,
    config: EditConfig | None = None,
    **overrides: Unpack[EditOverrides],
) -> Forecast:
    """What `edit` with the same arguments would take; no weights are read or fetched.

    Args:
        model: Hub id, local directory, or a model (also one on the meta device, see `outline`).
        config: options; `overrides` replace single ones.

    Raises:
        BiasEditError: the model or an option cannot be used, or this kind of edit is not forecast.
    """
    config = replace(config or EditConfig(), **overrides)
    _check(config)
    loaded = model if isinstance(model, LoadedModel) else outline(model, config)
    items = projections(loaded.model)
    reason = obstacle(loaded.model, [item.name for item in items])
    if reason is not None:
        raise BiasEditError(f"{reason}: there is no forecast of an edit by --solver adam")
    if LEVELS[config.granularity].few and any(item.experts > 1 for item in items):
        raise BiasEditError(
            "whole stacks of experts are edited by --solver adam, of which there is no forecast; "
            "use --granularity row, unit or neuron"
        )
    ladder = selections(loaded.model, config)
    sizes = sizes_of(loaded, config)
    passes = passes_of(sizes, config, ladder)
    device = parse_device(config.device)
    widths = Widths.of(loaded.model, items)
    rates = calibrate(loaded.model, items, loaded.model.dtype, device)
    processor, wall = cost.seconds(sizes, passes, ladder, widths, rates)
    memory = memory_of(loaded, sizes, config, ladder, device)
    short = lacking(memory, device)
    reason = short and f"{short}; {_what_would(loaded, sizes, config, device)}"
    return {
        "schema": "hfbiasedit.forecast/1",
        "version": __version__,
        "model": _model(loaded, device),
        "granularity": config.granularity,
        "budget": config.chosen_budget,
        "budgets": [_budget(one) for one in ladder],
        "blocks": len(decoder_blocks(loaded.model)),
        "projections": len(items),
        "passes": [_pass(one, widths) for one in passes],
        "memory": memory,
        "seconds": {"processor": processor, "wall": wall},
        "fits": reason is None,
        "reason": reason,
    }


def _model(loaded: LoadedModel, device: torch.device) -> Model:
    return {
        "id": loaded.source.id,
        "revision": loaded.source.commit,
        "dtype": loaded.dtype,
        "parameters": loaded.parameters,
        "architecture": type(loaded.model).__name__,
        "device": str(device),
    }


def _budget(one: Selected) -> ForecastBudget:
    return {
        "items": one.items,
        "of": one.of,
        "weights": one.weights,
        "coordinates": one.coordinates,
        "cut": one.cut,
    }


def _pass(one: Pass, widths: Widths) -> ForecastPass:
    return {
        "stage": one.stage,
        "what": one.what,
        "prompts": one.size.sequences,
        "tokens": one.size.tokens,
        "times": one.times,
        "backward": one.backward,
        "operations": cost.operations(one, widths),
    }


def _check(config: EditConfig) -> None:
    """Refuse what is not counted here.

    Raises:
        UsageError: another saliency or solver than the default, a saved selection, several
            devices, or what the level has with no model.
    """
    if config.saliency != "joint" or config.solver not in ("auto", "newton"):
        raise UsageError("a forecast is of the default saliency and solver")
    if config.selection is not None:
        raise UsageError("a forecast is of a budget; leave the selection out")
    if config.device_map is not None:
        raise UsageError("a forecast is of one device; leave the device map out")
    check_asked(config.granularity, config.chosen_budget, config.include)


def _what_would(loaded: LoadedModel, sizes: Sizes, config: EditConfig, device: torch.device) -> str:
    """The first change that makes it fit, in words."""
    smallest = LEVELS[config.granularity].ladder[-1:]
    changes = [("--gradient-checkpointing", replace(config, checkpoint=True))]
    for budget in smallest:
        changes += [
            (f"--budget '{budget}'", replace(config, budget=budget)),
            (
                f"--gradient-checkpointing and --budget '{budget}'",
                replace(config, checkpoint=True, budget=budget),
            ),
        ]
    for words, changed in changes:
        ladder = selections(loaded.model, changed)
        if lacking(memory_of(loaded, sizes, changed, ladder, device), device) is None:
            return f"it fits with {words}"
    if loaded.model.dtype == torch.float32:
        return "try --dtype bfloat16, a smaller model or a larger machine"
    return "take a smaller model or a larger machine"
