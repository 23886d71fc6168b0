"""The base checkpoint of a run: found, and compared with the one that was edited.

The scores of a run are those of one model. A patch compares the old values of the weights that it
changes and nothing else, so whether all other files are that model's too is asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants, errors

from hfbiasedit.console import warn
from hfbiasedit.documents.runs import EDIT, Run
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.hub.pull import model_files, pull_model
from hfbiasedit.hub.remote import files_at
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import hub_api
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.hub.verification import verify_source
from hfbiasedit.models.provenance import content_files, is_content, weights_identity
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.publishing.plan import LocalFile
from hfbiasedit.resources import DEMO


def base_source(run: Run, base: str, commit: str | None, directory: Path | None) -> ModelSource:
    """The base checkpoint of a run, file by file the one that was edited.

    Args:
        run: the run. base: the name of its base model. commit: that on the Hub, if it is there.
        directory: where the checkpoint is, if the user says so.

    Raises:
        BiasEditError: it is not at hand, damaged, or another model.
    """
    source = _found(run, base, commit, directory)
    verify_source(source)
    _refuse_other(source, run.edit["model"])
    return source


def _found(run: Run, base: str, commit: str | None, directory: Path | None) -> ModelSource:
    if directory is not None:
        return resolve_model(directory)
    local = Path(run.edit["model"]["id"])
    if "base_model" in run.edit and local.is_dir():
        return resolve_model(local)  # what was edited, and named afterwards
    if commit is not None:
        return pull_model(base, commit)
    if base == DEMO or Path(base).is_dir():
        return resolve_model(base)
    raise BiasEditError(
        f"the base model of this run is the directory {base}, which is not here; "
        "name it with --base"
    )


def _refuse_other(source: ModelSource, edited: Model) -> None:
    """BiasEditError when a checkpoint is not the model that the run is about."""
    name, commit = edited["id"], edited["revision"]
    known = edited.get("digest") or (f"{name}@{commit}" if commit is not None else None)
    if known is None:  # a document of an older version
        warn(f"{EDIT} has no digest of the model; only edited weights of {source.id} are compared")
        return
    of_files = known.startswith("sha256:")  # wherever the files come from now
    if source.commit is None and commit is not None and not of_files:
        if differing := _unlike(source, name, commit):
            raise BiasEditError(
                f"{source.path} is not the model that was edited: not as in {name} at commit "
                f"{commit[:7]} are {listed(differing, 3)}; bring them back, or leave --base out"
            )
    elif weights_identity(replace(source, commit=None) if of_files else source) != known:
        raise BiasEditError(
            f"{source.id} is not, file by file, the model that was edited: weights, configuration "
            "or tokenizer are others; name the directory as it was with --base, or edit this model"
        )


def _unlike(source: ModelSource, base: str, commit: str) -> Sequence[str]:
    """Files of a directory, or missing in it, that are not those of a model of the Hub."""
    api = hub_api()
    try:
        remote = with_retries(
            lambda: files_at(api, base, constants.REPO_TYPE_MODEL, commit), f"listing {base}"
        )
    except errors.HfHubHTTPError as error:
        raise BiasEditError(
            f"{base} cannot be seen on the Hub, so {source.path} cannot be compared with what was "
            "edited; publish the patch alone: --what patch"
        ) from error

    def read(path: str) -> str:
        fetch = api.hf_hub_download
        got = with_retries(lambda: fetch(base, path, revision=commit), f"reading {path} of {base}")
        return Path(got).read_text(encoding="utf-8")

    loaded = set(filter(is_content, model_files(base, list(remote), read)))
    here = {path.name: path for path in content_files(source)}
    return [
        name
        for name in sorted(loaded | here.keys())
        if name not in here or not LocalFile.read(name, here[name]).same_as(remote.get(name))
    ]
