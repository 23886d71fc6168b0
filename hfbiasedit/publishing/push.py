"""Publishing a run: the patched model, or the patch alone, in one commit."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import constants, errors

from hfbiasedit.console import message as say
from hfbiasedit.documents import runs
from hfbiasedit.documents.runs import Run
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.layout import PATCH_BESIDE_MODEL
from hfbiasedit.hub.remote import files_at
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.export.exporter import export_adapter
from hfbiasedit.patches.patch import Patch
from hfbiasedit.publishing.base import base_source
from hfbiasedit.publishing.config import PushConfig, PushOverrides
from hfbiasedit.publishing.contents import check_run, contents
from hfbiasedit.publishing.origin import name_base
from hfbiasedit.publishing.plan import CopySource, LocalFile
from hfbiasedit.publishing.publication import Publisher
from hfbiasedit.publishing.result import PushResult, Target
from hfbiasedit.resources import DEMO

if TYPE_CHECKING:
    from typing_extensions import Unpack


def push(
    run: str | Path,
    repo_id: str,
    config: PushConfig | None = None,
    **overrides: Unpack[PushOverrides],
) -> PushResult:
    """Publish a run directory on the Hub.

    With `what="model"` the patch is applied to the base checkpoint and everything is
    committed: weights, tokenizer, configuration, card, patch, reports, figures. Weights that
    the edit left alone are copied on the server when the base model is on the same Hub.
    With `what="patch"` only the patch goes, with its card and reports; with `what="adapter"` the
    adapter that it makes (`export_adapter`), and the patch beside it.

    Args:
        run: A run directory.
        repo_id: `name` or `owner/name`; created if missing.
        config: Options; `overrides` win over its fields.

    Raises:
        BiasEditError: The run is incomplete, the repository holds other files or has moved,
            the base model is damaged, not at hand, or not what was edited.
        Exception: What the Hub client raises; `hub.failures.explain` puts it in a line.
    """
    config = replace(config or PushConfig(), **overrides)
    opened = Run.open(run)
    check_run(opened)
    if config.base_model is not None:
        name_base(opened, config.base_model)
    publisher = Publisher(
        Target(
            repo_id=repo_id,
            what=config.what,
            revision=config.revision,
            create_pr=config.create_pr,
            private=config.private,
            overwrite=config.overwrite,
            dry_run=config.dry_run,
        )
    )
    base, commit = _base(publisher, opened)
    message = config.message or _message(opened, base, commit, config.what)
    if config.what == "adapter":
        return _push_adapter(publisher, opened, config, message)
    if config.what == "model":
        source = base_source(opened, base, commit, config.base)
        return _push_model(publisher, opened, source, (base, commit), message)
    with contents(opened, config.what, publisher.repo_id, runs.PATCH) as files:
        return publisher.publish(files, message)


def _push_model(
    publisher: Publisher,
    run: Run,
    source: ModelSource,
    origin: tuple[str, str | None],
    message: str,
) -> PushResult:
    """Publish the patched model; `origin` is the base's name and its commit on the Hub."""
    base, commit = origin
    with (
        contents(run, "model", publisher.repo_id, PATCH_BESIDE_MODEL) as files,
        _workspace(source, run) as folder,
    ):
        apply_patch(source.path, run.patch_path, folder / "model")
        weights = _files_of(folder / "model")
        if publisher.repo_id.lower() == base.lower():
            _refuse_moved(publisher, source, weights)
            return publisher.publish({**weights, **files}, message)
        copies = _copies(publisher, base, commit)
        return publisher.publish({**weights, **files}, message, copies)


def _push_adapter(publisher: Publisher, run: Run, config: PushConfig, message: str) -> PushResult:
    with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as name:
        folder = Path(name, "adapter")
        adapter = export_adapter(
            run.path,
            folder,
            kind=config.kind,
            max_rank=config.max_rank,
            base=config.base,
            check=config.check,
        )
        made = {path.name: path for path in folder.iterdir()}
        what, repo_id = config.what, publisher.repo_id
        with contents(run, what, repo_id, PATCH_BESIDE_MODEL, adapter) as files:
            return publisher.publish({**made, **files}, message)


def _base(publisher: Publisher, run: Run) -> tuple[str, str | None]:
    """The base model of a run and its commit on the Hub, None where that is not known.

    Raises:
        BiasEditError: the run would be pushed over the base model itself.
    """
    metadata, edit = Patch.load(run.patch_path).metadata, run.edit
    base = str(metadata.get("base_model") or edit["model"]["id"])
    commit = metadata.get("base_revision")
    if "base_model" in edit:
        base, commit = edit["base_model"]["id"], edit["base_model"]["revision"]
    if publisher.repo_id.lower() == base.lower() and not publisher.target.create_pr:
        raise BiasEditError(
            f"{base} is the base model itself; add --create-pr to propose the edit there, "
            "or choose another repository"
        )
    if not isinstance(commit, str):
        if base != DEMO:
            say(
                "the published card says that the base is a local model; if it is on the Hub, "
                "name it with --base-model org/name"
            )
        return base, None
    _fetch_card(publisher, base, commit)
    _look_at_base(publisher, base, commit)
    return base, commit


def _message(run: Run, base: str, commit: str | None, what: str) -> str:
    if commit is None:
        base = "demo model" if base == DEMO else "a local model"
    before, after = (a["fb_score"] for a in (run.audit_before, run.audit_after))
    thing = "gender bias edited" if what == "model" else f"{what} against gender bias"
    return f"{base}, {thing}: FB-Score {before:.1f} to {after:.1f}"


def _fetch_card(publisher: Publisher, base: str, commit: str) -> None:
    """Bring the base model's card into the cache, where the licence is read from."""
    try:
        with_retries(
            lambda: publisher.api.hf_hub_download(base, runs.CARD, revision=commit),
            f"reading the card of {base}",
        )
    except (OSError, errors.EntryNotFoundError):  # no card, or behind a gate
        say(f"the licence of {base} is not known here; name it with: hfbiasedit card --license")


def _look_at_base(publisher: Publisher, base: str, commit: str) -> None:
    """Say when the base model has moved on; do not make public what its owner keeps closed."""
    try:
        info = with_retries(lambda: publisher.api.model_info(base), f"asking for {base}")
    except OSError:  # gone, or on another Hub
        return
    if info.sha and info.sha != commit:
        say(
            f"{base} has moved since the edit ({commit[:7]}, now {info.sha[:7]}); what is "
            "published belongs to the commit that was edited"
        )
    closed = "private" if info.private else "gated" if info.gated else None
    if closed and not publisher.target.create_pr:
        publisher.keep_closed(f"{base} is {closed}")


@contextlib.contextmanager
def _workspace(source: ModelSource, run: Run) -> Iterator[Path]:
    """A temporary directory on the disk of the base model, so that its shards can be linked."""
    beside = Path(constants.HF_HUB_CACHE).parent if source.commit else source.path.parent
    for place in (beside, run.path.parent):
        try:
            temporary = tempfile.TemporaryDirectory(dir=place, prefix=".hfbiasedit-")
        except OSError:  # a cache may be read-only
            continue
        with temporary as name:
            yield Path(name)
        return
    raise BiasEditError(f"cannot write to {run.path.parent}; move the run to another directory")


def _files_of(folder: Path) -> dict[str, Path]:
    """Path to file of the patched checkpoint; card, documents and figures are the run's alone."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {
        path: file
        for path, file in sorted(found.items())
        if not runs.is_output(path) and not path.startswith(".")
    }


def _copies(publisher: Publisher, base: str, commit: str | None) -> CopySource | None:
    """The base model's files on the Hub, to copy unchanged weights from."""
    if commit is None:
        return None
    api = publisher.api
    try:
        files = with_retries(
            lambda: files_at(api, base, constants.REPO_TYPE_MODEL, commit), f"listing {base}"
        )
    except errors.HfHubHTTPError:  # on another Hub, or gone: then everything is uploaded
        say(f"{base} cannot be copied from; all weights are uploaded")
        return None
    return CopySource(base, commit, files)


def _refuse_moved(publisher: Publisher, source: ModelSource, weights: dict[str, Path]) -> None:
    """BiasEditError when the base repository's weights are not those that were edited."""
    for path in weights:
        remote = publisher.remote.files.get(path)
        original = source.path / path
        if remote is None or not original.is_file() or not path.endswith(".safetensors"):
            continue
        if not LocalFile.read(path, original).same_as(remote):
            raise BiasEditError(
                f"the weights of {source.id} have changed since the edit (commit "
                f"{(source.commit or 'local')[:7]}); edit the new revision and push that"
            )
