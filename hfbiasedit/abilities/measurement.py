"""`ability`: what an edit costs, measured before and after on the same questions."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfbiasedit import console
from hfbiasedit.abilities.config import AbilityConfig, AbilityOverrides
from hfbiasedit.documents.structures.ability_document import (
    Ability,
    HumanEval,
    Isolation,
    Perplexity,
    Syntax,
    Written,
)
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfbiasedit.isolation.judge import Judgement
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch
    from hfbiasedit.texts.anchor import Anchor
    from hfbiasedit.texts.corpus import Corpus


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
    started = time.monotonic()
    ready_made = config.samples is not None
    if ready_made and config.tasks != ("humaneval",):
        raise UsageError("ready-made samples can only be judged: give --tasks humaneval")
    if ready_made and config.patch is not None:
        raise UsageError("ready-made samples have no before and after: leave the patch out")
    if model is None and not ready_made:
        raise UsageError("name a MODEL, or judge ready-made completions with --samples FILE")
    patch = _patch(config.patch)
    prepared = _prepare(config, patch)
    loaded = None if ready_made else _load(model, config)
    document: dict[str, Any] = {
        "schema": "hfbiasedit.ability/1",
        "version": __version__,
        "model": _describe(loaded),
        "patch": patch.digest if patch is not None else getattr(loaded, "patch_digest", None),
    }
    for task in config.tasks:
        document[task] = _TASKS[task](loaded, config, patch, prepared.get(task))
    document["seconds"] = round(time.monotonic() - started, 3)
    return cast(Ability, document)


ability = measure_ability


def _prepare(config: AbilityConfig, patch: Patch | None) -> dict[str, Any]:
    """Read everything that can be wrong before a model is loaded."""
    prepared: dict[str, Any] = {}
    if "perplexity" in config.tasks:
        from hfbiasedit.texts.corpus import refuse_overlap

        prepared["perplexity"] = _corpus(config)
        for anchor in _anchors(config, patch):
            refuse_overlap(prepared["perplexity"], anchor.name, anchor.texts)
    if "syntax" in config.tasks:
        from hfbiasedit.abilities.syntax import load_stubs

        prepared["syntax"] = load_stubs(config.stubs, config.limit)
    if "humaneval" in config.tasks:
        from hfbiasedit.abilities.problems import load_problems, load_samples

        problems = load_problems(config.problems, config.limit)
        samples = load_samples(config.samples, problems) if config.samples else None
        prepared["humaneval"] = problems, samples
    return prepared


def _corpus(config: AbilityConfig) -> Corpus:
    from hfbiasedit.texts.corpus import load_corpus

    return load_corpus(
        config.text,
        limit=config.limit,
        dataset=config.dataset,
        dataset_config=config.dataset_config,
        split=config.split,
        field=config.field,
        documents=config.documents,
    )


def _anchors(config: AbilityConfig, patch: Patch | None) -> list[Anchor]:
    """Code that edits were told to keep: the default, what is named, what the patch names."""
    from hfbiasedit.texts.anchor import load_anchor

    if config.anchor is not None:
        return [load_anchor(source) for source in (None, config.anchor)]
    made = patch.metadata.get("edit") if patch is not None else None
    options = made.get("options") if isinstance(made, dict) else None
    used = options.get("anchor") if isinstance(options, dict) else None
    if used is not None:
        try:
            return [load_anchor(None), load_anchor(str(used))]
        except BiasEditError as error:
            raise BiasEditError(
                f"the patch was anchored on {used}, which cannot be read here, so that nobody can "
                "tell whether the perplexity text is fresh; name a copy of it with --anchor"
            ) from error
    return [load_anchor(None)]


def _load(model: Any, config: AbilityConfig) -> LoadedModel:
    from hfbiasedit.models.loading import LoadedModel, load_model

    if isinstance(model, LoadedModel):
        return model
    return load_model(model, config)


def _patch(given: Any) -> Patch | None:
    from hfbiasedit.patches.patch import Patch

    return Patch.load(given) if isinstance(given, str | Path) else given


def _describe(loaded: LoadedModel | None) -> Model | None:
    if loaded is None:
        return None
    return {
        "id": loaded.source.id,
        "revision": loaded.source.commit,
        "digest": loaded.identity,
        "dtype": loaded.dtype,
        "parameters": loaded.parameters,
    }


def _perplexity(loaded: Any, config: AbilityConfig, patch: Any, corpus: Any) -> Perplexity:
    from hfbiasedit.abilities.perplexity import measure_perplexity

    return measure_perplexity(loaded, corpus, config, patch)


def _syntax(loaded: Any, config: AbilityConfig, patch: Any, stubs: Any) -> Syntax:
    from hfbiasedit.abilities.syntax import measure_syntax

    return measure_syntax(loaded, stubs, config, patch)


def _humaneval(loaded: Any, config: AbilityConfig, patch: Any, prepared: Any) -> HumanEval:
    from hfbiasedit.abilities.humaneval import measure_humaneval

    problems, samples = prepared
    result, judgements = measure_humaneval(
        problems, config, loaded=loaded, samples=samples, patch=patch
    )
    result["isolation"] = _isolation(judgements)
    return result


def _isolation(judgements: list[Judgement]) -> Isolation:
    """Which guards were in force everywhere; what the platform lacks is said once."""
    known = [judgement for judgement in judgements if judgement.guards or judgement.missing]
    active = sorted(set.intersection(*(set(j.guards) for j in known))) if known else []
    missing = sorted({name for judgement in known for name in judgement.missing})
    if known and not {"landlock", "seccomp"} <= set(active):
        console.warn(
            "this system lacks the kernel's guards (Linux with Landlock and seccomp): files and "
            "network are only kept from well-behaved programs; judge in a container or on Linux"
        )
    if missing:
        console.warn(f"this system does not limit: {', '.join(missing)}")
    return {"guards": active, "missing": missing}


def _generation(loaded: Any, config: AbilityConfig, patch: Any, _: Any) -> Written:
    from hfbiasedit.abilities.secondlook import measure_behaviour

    return measure_behaviour(loaded, config, patch)


_TASKS = {
    "perplexity": _perplexity,
    "syntax": _syntax,
    "humaneval": _humaneval,
    "generation": _generation,
}
