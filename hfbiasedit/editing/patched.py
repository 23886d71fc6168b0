"""The edit as a checkpoint on disk: its patch, and what the patched files say when loaded again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hfbiasedit.checkpoints.storage import has_only_bin, weight_files
from hfbiasedit.checkpoints.transfer import shares_blocks
from hfbiasedit.documents.structures.edit_document import Example, QuantizedCheck
from hfbiasedit.editing.attempt import Attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.judging import examples, outcome
from hfbiasedit.editing.judging.quantised import check_quantised
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.outputs import existing, probe_room
from hfbiasedit.patches.building import Change
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.versions import __version__


def bare_patch_of(loaded: LoadedModel, found: Attempt, config: EditConfig) -> Patch:
    """The selected weights that changed, old and new, of which model and at which level."""
    changes = {
        name: Change(part.kind, part.index, found.values[name], part.axis)
        for name, part in found.selection.slices.items()
    }
    source = loaded.source
    return Patch.from_changes(
        loaded,
        changes,
        base_model=source.id,
        base_revision=source.commit,
        granularity=config.granularity,
        created_by=f"hfbiasedit {__version__}",
    )


def patch_of(loaded: LoadedModel, found: Attempt, config: EditConfig) -> Patch:
    """The same with the options that made them, and room for scores."""
    options = outcome.deciding_options(config)
    del options["selection"]  # a file of this machine; the patch says itself what it edits
    return bare_patch_of(loaded, found, config).described(
        edit={"options": options, "seed": config.seed, "scores": {}}
    )


def measure_patched(
    loaded: LoadedModel,
    patch: Patch,
    asked: outcome.Questions,
    config: EditConfig,
    before: outcome.Measurement,
    kept: Kept,
) -> tuple[outcome.Measurement, list[Example], list[QuantizedCheck]]:
    """Write the patched checkpoint to a temporary directory, load it from there and measure it.

    Returns:
        The measurement, some of its prompts with what both models write after them, and the scores
        of both models quantised.
    """
    folder = _room_for(loaded.source.path, kept)
    try:
        apply_patch(loaded.source.path, patch, folder / "patched", replace=True)
        again = load_model(
            folder / "patched",
            config,
            revision=None,
            dtype=loaded.dtype,
            device=str(loaded.device) if config.device_map is None else "auto",
        )
        # The report speaks of the base model with the patch, not of a temporary directory.
        again.source, again.patch_digest = loaded.source, patch.digest
        again.identity = loaded.identity
        after = outcome.measure(again, asked, config.seed, kept, "after")
        scores = (before.report.scores, after.report.scores)
        shown = examples.write_examples((loaded, again), scores, config.seed)
        rounded = check_quantised(
            loaded, again, patch, asked.audit, config.check_quantized, config.seed, kept
        )
        return after, shown, rounded
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_room(source: Path, kept: Kept) -> None:
    """Refuse, before the work, to edit a checkpoint whose patched copy would have no room.

    A shard that an edit touches is copied, and which ones those are is known only at the end.

    Raises:
        BiasEditError: there is less room than all of them take.
    """
    place = existing(_beside_work(source, kept) or Path(tempfile.gettempdir()))
    files = weight_files(source)
    if files and (has_only_bin(source) or not shares_blocks(files[0], place)):
        probe_room(place, files, "the edited checkpoint")


def _room_for(source: Path, kept: Kept) -> Path:
    """A directory for the patched checkpoint."""
    beside = _beside_work(source, kept)
    return beside / "checkpoint" if beside else Path(tempfile.mkdtemp(prefix="hfbiasedit-"))


def _beside_work(source: Path, kept: Kept) -> Path | None:
    """Where what is kept lies, in which a kill leaves a checkpoint to the next run to clear.

    None where that is inside of the base, as `--out` may be: no checkpoint can be written there.
    """
    if kept.folder is None or source.resolve() in kept.folder.resolve().parents:
        return None
    return kept.folder.absolute()
