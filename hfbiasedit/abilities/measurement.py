"""`ability`: what an edit costs, measured before and after on the same questions."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfbiasedit.abilities.ability_task import AbilityTask, task_of
from hfbiasedit.abilities.config import AbilityConfig, AbilityOverrides
from hfbiasedit.abilities.extensions import TASKS
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.errors import UsageError
from hfbiasedit.tracking import tracked
from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch


def measure_ability(
    model: str | Path | LoadedModel | None,
    config: AbilityConfig | None = None,
    **overrides: Unpack[AbilityOverrides],
) -> Ability:
    """Measure how well a model codes; with `config.patch` before and after it, in one load.

    Args:
        model: Hub id, directory or loaded model; None when only ready-made samples are judged.
        config: what to measure; `overrides` replace fields of it.

    Returns:
        The document `ability.json`: `schema`, `version`, `model`, `patch`, `seconds`, and one
        entry per task with `before` and, with a patch, `after`.

    Raises:
        UsageError: options that contradict each other.
        BiasEditError: the model, the patch, a text, problems or samples cannot be used.
    """
    config = replace(config or AbilityConfig(), **overrides)
    with tracked(config.track, "ability", model or "samples", config) as log:
        document = _measured(model, config)
        log({"ability": {name: document.get(name) for name in config.tasks}}, None)
    return document


def check_ability(model: str | Path | LoadedModel | None, config: AbilityConfig) -> None:
    """Refuse what cannot be measured, as far as options and files tell; nothing is loaded.

    A model of the Hub is not looked up.

    Raises:
        UsageError: options that contradict each other.
        BiasEditError: the model, the patch, a text, problems or samples cannot be used.
    """
    from hfbiasedit.models.resolution import local_model

    _prepared(model, config)
    if isinstance(model, str | Path) and config.samples is None:
        local_model(model, config.revision)


def _prepared(
    model: str | Path | LoadedModel | None, config: AbilityConfig
) -> tuple[dict[str, AbilityTask], Patch | None, dict[str, Any]]:
    """Tasks, patch, and what every task has read, before a model is loaded."""
    ready_made = config.samples is not None
    tasks = {name: task_of(name) for name in config.tasks}
    if ready_made and not all(task.takes_samples for task in tasks.values()):
        able = ", ".join(name for name in TASKS if task_of(name).takes_samples)
        raise UsageError(f"ready-made samples can only be judged: give --tasks {able}")
    if ready_made and config.patch is not None:
        raise UsageError("ready-made samples have no before and after: leave the patch out")
    if model is None and not ready_made:
        raise UsageError("name a MODEL, or judge ready-made completions with --samples FILE")
    if config.quantize is not None:
        _check_quantising(model, ready_made)
    patch = _patch(config.patch)
    return tasks, patch, {name: task.prepare(config, patch) for name, task in tasks.items()}


def _measured(model: str | Path | LoadedModel | None, config: AbilityConfig) -> Ability:
    started = time.monotonic()
    tasks, patch, prepared = _prepared(model, config)
    ready_made = config.samples is not None
    loaded = None if ready_made else _load(model, config)
    if loaded is not None and config.quantize is not None:
        from hfbiasedit.patches.rounded import quantise_both

        patch = quantise_both(loaded, patch, config.quantize)
    document: dict[str, Any] = {
        "schema": "hfbiasedit.ability/1",
        "version": __version__,
        "model": _describe(loaded),
        "patch": patch.digest if patch is not None else getattr(loaded, "patch_digest", None),
    }
    if loaded is not None:
        from hfbiasedit.abilities.generating.generation import end_tokens

        document["chat"] = config.chat
        document["ends"] = end_tokens(loaded)
    for name, task in tasks.items():
        document[name] = task.measure(loaded, config, patch, prepared[name])
    document["seconds"] = round(time.monotonic() - started, 3)
    return cast(Ability, document)


ability = measure_ability


def _check_quantising(model: Any, ready_made: bool) -> None:
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.models.quantising import check_quantiser

    if ready_made:
        raise UsageError("ready-made samples are of no model here; leave --quantize out")
    if isinstance(model, LoadedModel):
        raise UsageError(
            "the model is loaded already; give its name, or use models.quantising.quantise"
        )
    check_quantiser()


def _load(model: Any, config: AbilityConfig) -> LoadedModel:
    from hfbiasedit.models.loading import LoadedModel, load_model

    if isinstance(model, LoadedModel):
        return model
    return load_model(model, config)


def _patch(given: Any) -> Patch | None:
    from hfbiasedit.patches.finding import find_patch
    from hfbiasedit.patches.patch import Patch

    return Patch.load(find_patch(given)) if isinstance(given, str | Path) else given


def _describe(loaded: LoadedModel | None) -> Model | None:
    if loaded is None:
        return None
    return loaded.describe()
