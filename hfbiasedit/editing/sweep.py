"""`sweep`: all granularities under one protocol, and what each of them buys."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfbiasedit.console import message
from hfbiasedit.documents import runs
from hfbiasedit.documents.structures.sweep_document import Sweep, SweepRow
from hfbiasedit.editing.attempt import Attempt, applied, attempt
from hfbiasedit.editing.config import EditConfig, EditOverrides, SweepConfig
from hfbiasedit.editing.inputs import check_inputs, check_weights
from hfbiasedit.editing.judging import outcome
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.locator import Location, locate_with
from hfbiasedit.editing.material.gathering import Material, gather, train_part
from hfbiasedit.editing.patched import bare_patch_of
from hfbiasedit.editing.plans import Plan, plans_of
from hfbiasedit.editing.resuming import claim_material, claim_model, work_beside
from hfbiasedit.editing.selecting.allowance import check_asked, check_budget
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import write_json
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.outputs import output_directory, probe_new_directory
from hfbiasedit.versions import __version__, versions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfbiasedit.patches.patch import Patch

TRADEOFF = "sweep.json"


def sweep(
    model: str | Path | LoadedModel,
    config: SweepConfig | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    **overrides: Unpack[EditOverrides],
) -> Sweep:
    """Edit a model at every granularity with the same prompts, divergence budget and seed.

    Edits are made and measured in memory, rounded as they would be stored; the model is as before
    in the end. A level at which nothing helps is listed without a change.

    Args:
        model: Hub id, local directory, or a model loaded from one.
        config: levels, saliencies, baselines and the common protocol.
        out: directory for `sweep.json`, the figure and every patch.
        resume: go on from what an interrupted sweep has left beside `out`.
        overrides: replace single options of the common protocol (`EditConfig`).

    Raises:
        BiasEditError: the model or an option cannot be used.
    """
    config = config or SweepConfig()
    if overrides:
        config = replace(config, edit=replace(config.edit, **overrides))
    # One protocol: the levels' own limits of the divergence would not compare levels.
    common = replace(config.edit, max_kl=config.edit.allowed_kl)
    config = replace(config, edit=common)
    if out is not None:
        probe_new_directory(out)
    check_inputs(common)
    _check_plans(plans_of(config))
    asked = outcome.questions(common)
    kept = work_beside(None if out is None else Path(out), model, common, asked, resume)
    if len(config.saliencies) == 1:  # of several each row bears its own in its name
        kept.claim(saliency=config.saliencies[0])
    with kept.alone():
        document = _swept(model, config, asked, out, kept)
        kept.remove()
    return document


def _swept(
    model: str | Path | LoadedModel,
    config: SweepConfig,
    asked: outcome.Questions,
    out: str | Path | None,
    kept: Kept,
) -> Sweep:
    """The sweep itself, with its directory."""
    common, plans = config.edit, plans_of(config)
    loaded = model if isinstance(model, LoadedModel) else _load(model, common)
    for plan in plans:
        check_weights(loaded, plan.config)
        check_budget(loaded.model, plan.config.granularity, plan.config.chosen_budget)
    locations: dict[str, Location] = {}
    with kept.unfinished(), _output(out) as folder:
        claim_model(kept, loaded)
        message("measuring the original")
        before = outcome.measure(loaded, asked, common.seed, kept, "before")
        material = gather(loaded, common, kept)
        claim_material(kept, material)
        rows = []
        for plan in plans:
            message(f"editing: {plan.name}")
            rows.append(_row(loaded, plan, material, locations, asked, before, folder, kept))
        document: Sweep = {
            "schema": "hfbiasedit.sweep/1",
            "version": __version__,
            "versions": versions(),
            "model": {
                "id": loaded.source.id,
                "revision": loaded.source.commit,
                "digest": loaded.identity,
                "dtype": loaded.dtype,
                "parameters": loaded.parameters,
            },
            "reference": str(common.reference),
            "options": outcome.options(common),
            "prompts_digest": asked.audit.digest,
            "fb_before": before.report.fb_score,
            "attempts": rows,
        }
        if out is not None:
            write_json(folder / TRADEOFF, document)
            _draw(document, folder)
    return document


def _check_plans(plans: list[Plan]) -> None:
    """Refuse what one of the edits would refuse, before the first of them.

    Raises:
        BiasEditError: a level does not take its options, or a package is missing.
    """
    for plan in plans:
        check_asked(plan.config.granularity, plan.config.chosen_budget, plan.config.include)
    if any(plan.lora for plan in plans):
        from hfbiasedit.editing.lora import check_peft

        check_peft()


def _row(
    loaded: LoadedModel,
    plan: Plan,
    material: Material,
    locations: dict[str, Location],
    asked: outcome.Questions,
    before: outcome.Measurement,
    folder: Path,
    kept: Kept,
) -> SweepRow:
    """Make and measure one edit, or take it from an interrupted sweep."""
    config, place = plan.config, kept.inside(plan.name)
    path = folder / f"{plan.name.replace(', ', '-').replace(' ', '-').lower()}.safetensors"
    known = place.load("row")
    if known is not None:
        _take(place, path, known[1])
        return cast(SweepRow, known[1])
    with place.timed("row"):
        found = _found(loaded, plan, material, locations, kept)
    with applied(loaded, found):
        after = outcome.measure(loaded, asked, config.seed)
    patch = bare_patch_of(loaded, found, config) if found.helped else None
    size, change = 0, None
    if patch is not None:
        patch.save(path)
        size = path.stat().st_size
        change = _perplexity_change(loaded, patch, config)
    edited = found.selection.summary(loaded.model, found.changed())
    row: SweepRow = {
        "name": plan.name,
        "granularity": config.granularity,
        "saliency": config.saliency,
        "baseline": plan.baseline,
        "helped": found.helped,
        "weights": edited["weights"],
        "share": edited["share"],
        "selection": found.selection.summary(loaded.model),
        "edited": edited,
        "splits": outcome.compare_splits(before, after, config.seed),
        "kl": found.kl_summary(config.allowed_kl),
        "perplexity_change": change,
        "seconds": place.seconds("row"),
        "patch_bytes": size,
        "stopped": found.outcome.stopped,
    }
    if place.folder is not None and patch is not None:
        patch.save(place.folder / runs.PATCH)
    place.save("row", {}, row)
    return row


def _found(
    loaded: LoadedModel,
    plan: Plan,
    material: Material,
    locations: dict[str, Location],
    kept: Kept,
) -> Attempt:
    """One edit; what was located for one is known to the others."""
    config = plan.config
    if plan.lora:
        from hfbiasedit.editing.lora import attempt_lora

        return attempt_lora(loaded, config, material)
    if config.saliency not in locations:
        place = kept.inside(f"locating-{config.saliency}")
        locations[config.saliency] = locate_with(loaded, train_part(material), config, place)
    location = locations[config.saliency]
    return attempt(loaded, config, material, location=location, kept=kept.inside(plan.name))


def _take(place: Kept, path: Path, row: dict[str, Any]) -> None:
    """Put the patch of a finished row where the sweep's patches go."""
    if row["helped"]:
        assert place.folder is not None
        shutil.copyfile(place.folder / runs.PATCH, path)


def _perplexity_change(loaded: LoadedModel, patch: Patch, config: EditConfig) -> float:
    """Relative change of the perplexity of the shipped code that no edit has seen."""
    from hfbiasedit.abilities.config import AbilityConfig
    from hfbiasedit.abilities.perplexity import measure_perplexity
    from hfbiasedit.texts.corpus import load_corpus

    wanted = AbilityConfig(seed=config.seed, bootstrap=100)
    measured = measure_perplexity(loaded, load_corpus(), wanted, patch)
    return float(measured["relative_change"])


def _draw(document: Sweep, folder: Path) -> None:
    from hfbiasedit.figures import style
    from hfbiasedit.figures.tradeoff import Attempt as Point
    from hfbiasedit.figures.tradeoff import draw_tradeoff

    points = []
    for row in document["attempts"]:
        split = row["splits"].get("test") or next(iter(row["splits"].values()))
        low, high = split["ci95_after"]
        points.append(
            Point(
                row["name"],
                row["granularity"],
                row["weights"],
                split["fb_after"],
                (low, high),
                row["kl"]["mean"],
                row["baseline"],
            )
        )
    with style.settings():
        style.save(draw_tradeoff(points, document["fb_before"]), folder / "tradeoff")


@contextlib.contextmanager
def _output(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        with output_directory(Path(out)) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as name:
        yield Path(name)


def _load(model: str | Path, config: EditConfig) -> LoadedModel:
    loaded = load_model(model, config)
    if loaded.patch_digest is not None:
        raise BiasEditError("the model has a patch applied in memory; sweep the checkpoint itself")
    return loaded
