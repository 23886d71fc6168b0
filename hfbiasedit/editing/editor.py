"""`edit`: from a model to a run directory with a patch, or a plain no."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfbiasedit import processes
from hfbiasedit.console import message, warn
from hfbiasedit.documents import runs
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.editing.attempt import Attempt, attempt
from hfbiasedit.editing.config import EditConfig, EditOverrides
from hfbiasedit.editing.inputs import check_blocks, check_inputs, check_weights
from hfbiasedit.editing.judging import outcome
from hfbiasedit.editing.judging.unhelpful import no_help
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.material.gathering import Material, gather
from hfbiasedit.editing.patched import check_room, measure_patched, patch_of
from hfbiasedit.editing.record import edit_document, templates_of
from hfbiasedit.editing.resuming import claim_material, claim_model, work_beside
from hfbiasedit.editing.selecting.allowance import check_asked, check_budget
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.files import sha256_file, write_json
from hfbiasedit.levels import Granularity
from hfbiasedit.models.architecture import refuse_quantised
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.models.resolution import local_model, resolve_model
from hfbiasedit.outputs import output_directory, probe_directory
from hfbiasedit.replacing import Kind, refuse_other
from hfbiasedit.tracking import tracked

if TYPE_CHECKING:
    from typing_extensions import Unpack


DEFAULT_OUT = Path("hfbiasedit-run")
_RUN = Kind("a run", runs.OWN.__contains__, lambda names: runs.EDIT in names)
_TRACKED = ("splits", "edited", "kl", "seconds")  # of the outcome, by a tracker


class NothingHelps(BiasEditError):
    """No state within the allowed divergence was better than the original on dev."""


def edit(
    model: str | Path | LoadedModel,
    config: EditConfig | None = None,
    *,
    out: str | Path = DEFAULT_OUT,
    command: str = "hfbiasedit.edit",
    resume: bool = False,
    **overrides: Unpack[EditOverrides],
) -> runs.Run:
    """Edit a model and write a run directory: patch, audits before and after, figures, card.

    The audit after is of the patched checkpoint, written to a temporary directory and loaded from
    there; the model's own files stay as they are.

    Args:
        model: Hub id, local directory, or a model loaded from one.
        config: options; `overrides` replace single ones: `edit("org/name", granularity="neuron")`.
        out: the run directory; a run that is there already is replaced when this one is complete.
        command: what `edit.json` says about how it was made.
        resume: go on from what an interrupted edit has left beside `out` (see `keeping`).

    Raises:
        BiasEditError: the model or an option cannot be used, there is nothing to resume, or no edit
            helps within the budget (`NothingHelps`); nothing is written then.
    """
    config = replace(config or EditConfig(), **overrides)
    processes.join()
    check_edit(model, config, Path(out))
    asked = outcome.questions(config)
    kept = work_beside(Path(out), model, config, asked, resume)
    track = config.track if processes.rank() == 0 else None
    with kept.alone(), tracked(track, "edit", model, config) as log:
        found, config = _edited(model, config, Path(out), asked, kept, command)
        for row in found.outcome.history:
            log(
                {"edit": {name: value for name, value in row.items() if name != "step"}},
                row["step"],
            )
        if not found.helped:
            raise NothingHelps(no_help(found.outcome, config))
        processes.wait()
        if processes.rank() != 0:
            return runs.Run(Path(out))
        run = runs.Run.open(Path(out))
        document: Mapping[str, Any] = run.edit
        log({"edit": {name: document[name] for name in _TRACKED}}, None)
    return run


def check_edit(model: str | Path | LoadedModel, config: EditConfig, out: Path) -> None:
    """Refuse what an edit cannot be made with, as far as options and files tell.

    Nothing is loaded, and a model of the Hub is not looked up.

    Raises:
        BiasEditError: the model, the output, an option or a file that one names cannot be used.
    """
    if config.selection is None:
        check_asked(config.granularity, config.chosen_budget, config.include)
    if not isinstance(model, LoadedModel):
        local_model(model, config.revision)
    probe_directory(out)
    refuse_other(out, _RUN)
    check_inputs(config)


def _edited(
    model: str | Path | LoadedModel,
    config: EditConfig,
    out: Path,
    asked: outcome.Questions,
    kept: Kept,
    command: str,
) -> tuple[Attempt, EditConfig]:
    """The edit itself, with its run directory where it helps; the options, checked."""
    loaded = model if isinstance(model, LoadedModel) else _load(model, config, kept)
    config, chosen = _checked(loaded, config)
    with kept.unfinished(), kept.timed("total"):
        claim_model(kept, loaded, writes=config.ability)
        message("measuring the original")
        with kept.timed("audit"):
            before = outcome.measure(loaded, asked, config.seed, kept, "before")
        material = gather(loaded, config, kept)
        claim_material(kept, material)
        found = attempt(loaded, config, material, selection=chosen, kept=kept)
        if found.helped and processes.rank() == 0:
            _write(out, loaded, config, asked, material, before, found, kept, command)
    kept.remove()
    return found, config


def _write(
    out: Path,
    loaded: LoadedModel,
    config: EditConfig,
    asked: outcome.Questions,
    material: Material,
    before: outcome.Measurement,
    found: Attempt,
    kept: Kept,
    command: str,
) -> None:
    """Measure the edit and write the run directory."""
    with output_directory(out, replace=True, keep=True) as folder:
        document = _write_run(folder, loaded, config, asked, material, before, found, kept)
        document["command"] = command
        document["seconds"]["total"] = kept.seconds("total")
        document["peak_memory_bytes"] = outcome.peak_memory()
        write_json(folder / runs.EDIT, document)
        if config.base_model is not None:
            _name_base(folder, config.base_model)
        _write_pages(folder)


def _write_run(
    folder: Path,
    loaded: LoadedModel,
    config: EditConfig,
    asked: outcome.Questions,
    material: Material,
    before: outcome.Measurement,
    found: Attempt,
    kept: Kept,
) -> Edit:
    """Measure the edit and write everything but `edit.json`, which is returned, and the pages."""
    message("measuring the edited checkpoint")
    patch = patch_of(loaded, found, config)
    with kept.timed("audit"):
        after, shown, rounded = measure_patched(loaded, patch, asked, config, before, kept)
    splits = outcome.compare_splits(before, after, config.seed)
    scores = {
        name: {"fb_before": row["fb_before"], "fb_after": row["fb_after"]}
        for name, row in splits.items()
    }
    patch = patch.described(edit=patch.metadata["edit"] | {"scores": scores})
    patch.save(folder / runs.PATCH)
    document = edit_document(loaded, config, material, found, splits, patch)
    document["patch"]["bytes"] = (folder / runs.PATCH).stat().st_size
    document["patch"]["sha256"] = sha256_file(folder / runs.PATCH)
    document["prompts_digest"] = asked.audit.digest
    document["templates"] = templates_of(asked.audit.records, material)
    document["examples"] = shown
    if rounded:
        document["quantized"] = rounded
    before.report.save(folder / runs.AUDIT_BEFORE)
    after.report.save(folder / runs.AUDIT_AFTER)
    found.selection.save(folder / runs.SELECTION)
    if found.location is not None:
        found.location.save(folder)
    if config.ability:
        write_json(
            folder / runs.ABILITY, kept.facts("ability", lambda: _ability(loaded, config, folder))
        )
    for part in ("locate", "edit"):
        document["seconds"][part] = found.seconds[part]
    document["seconds"]["audit"] = kept.seconds("audit")
    return document


def _load(model: str | Path, config: EditConfig, kept: Kept) -> LoadedModel:
    """Load the model, once it is known that its edited copy has room beside the output."""
    source = resolve_model(model, config.revision)
    check_room(source.path, kept)
    return load_model(source, config)


def _checked(loaded: LoadedModel, config: EditConfig) -> tuple[EditConfig, Selection | None]:
    """What can be refused before any work; the level and the selection of a selection file."""
    refuse_quantised(loaded.model)
    if loaded.source.gguf is not None:
        raise BiasEditError("edit the checkpoint that the GGUF file was made from")
    if loaded.patch_digest is not None:
        raise BiasEditError("the model has a patch applied in memory; edit the checkpoint itself")
    check_blocks(loaded, config)
    if config.base_model is not None:
        _check_base(loaded, config.base_model)
    if loaded.source.commit is not None:
        from hfbiasedit.hub.verification import verify_source

        verify_source(loaded.source)  # damage must not become the old side of a patch
    if config.selection is None:
        check_weights(loaded, config)
        check_budget(loaded.model, config.granularity, config.chosen_budget)
        return config, None
    chosen = Selection.load(config.selection, loaded.model)
    check_weights(loaded, config, chosen)
    return replace(config, granularity=cast(Granularity, chosen.granularity)), chosen


def _check_base(loaded: LoadedModel, name: str) -> None:
    from hfbiasedit.publishing.origin import base_commit

    if loaded.source.commit is not None:
        raise UsageError(f"{loaded.source.id} is on the Hub already; leave --base-model out")
    base_commit(name)  # a misspelt name is said now, not after the work


def _name_base(folder: Path, name: str) -> None:
    """Note where the base model is on the Hub; a run is complete without it."""
    from hfbiasedit.hub.failures import explain
    from hfbiasedit.publishing.origin import name_base

    try:
        name_base(runs.Run(folder), name)
    except Exception as error:
        warn(f"the card says that the base is a local model: {explain(error) or error}")


def _ability(loaded: LoadedModel, config: EditConfig, folder: Path) -> Any:
    from hfbiasedit.abilities.measurement import ability

    report = ability(
        loaded,
        patch=folder / runs.PATCH,
        anchor=config.anchor,
        reference=config.reference,
        seed=config.seed,
    )
    return report if isinstance(report, dict) else report.to_dict()


def _write_pages(folder: Path) -> None:
    """Figures, report and card; a run is complete without them, so that a failure is a warning."""
    from hfbiasedit.cards.model_card import write_card
    from hfbiasedit.figures.run import write_figures
    from hfbiasedit.reports.html import write_report

    drawn: list[Path] = []
    steps: dict[str, Callable[[], Any]] = {
        "figures": lambda: drawn.extend(write_figures(folder)),
        "report": lambda: write_report(folder, figures=drawn or None),
        "card": lambda: write_card(folder),
    }
    for name, write in steps.items():
        try:
            write()
        except BiasEditError as error:
            warn(f"write {name}: {error}")
