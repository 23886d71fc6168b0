"""What a push of a run brings besides weights: card, documents, figures, page, patch."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hfbiasedit.cards.eval_results import FOLDER, render_eval_results
from hfbiasedit.cards.model_card import card_to_publish
from hfbiasedit.console import message as say
from hfbiasedit.documents import runs
from hfbiasedit.documents.mixture import check_patch
from hfbiasedit.documents.public import public, public_documents
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.documents.runs import Run
from hfbiasedit.documents.structures.adapter_document import Adapter
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import sha256_file, write_json
from hfbiasedit.patches.patch import Patch
from hfbiasedit.reports.html import render_report


def check_run(run: Run) -> None:
    """Refuse a mixture before the Hub is asked anything.

    Raises:
        BiasEditError: a document or the patch is not of this run.
    """
    edit = _edit_of(open_documents(run.path))
    check_patch(run.path, edit)
    if Patch.load(run.patch_path).digest != edit["patch"]["digest"]:
        raise BiasEditError(f"{run.patch_path} is another patch than the one {runs.EDIT} tells of")


@contextlib.contextmanager
def contents(
    run: Run, what: str, repo_id: str, patch_name: str, adapter: Adapter | None = None
) -> Iterator[dict[str, Path]]:
    """Path in the repository to file; paths of this machine are in none of them.

    Args:
        run: the run. what: `model`, `patch` or `adapter`. repo_id: where it goes.
        patch_name: path of the patch in the repository.
        adapter: what the card of an adapter tells of it.
    """
    documents = public_documents(open_documents(run.path))
    files = {f"{runs.FIGURES}/{f.name}": f for f in run.figures if f.is_file()}
    with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as name:
        folder = Path(name)
        files[patch_name] = _patch(run, documents, folder)
        files |= _documents(documents, folder)
        if (run.path / runs.REPORT).is_file():
            files[runs.REPORT] = folder / runs.REPORT
            page = render_report(documents, _drawings(run))
            files[runs.REPORT].write_text(page, encoding="utf-8")
        files[runs.CARD] = folder / runs.CARD
        files[runs.CARD].write_text(_card(run, what, repo_id, adapter), encoding="utf-8")
        for entry, text in render_eval_results(run.path).items():
            files[f"{FOLDER}/{entry}"] = folder / entry
            files[f"{FOLDER}/{entry}"].write_text(text, encoding="utf-8")
        yield files


def _documents(documents: Documents, folder: Path) -> dict[str, Path]:
    made = {
        runs.AUDIT_BEFORE: documents.before,
        runs.AUDIT_AFTER: documents.after,
        runs.EDIT: documents.edit,
        runs.ABILITY: documents.ability,
    }
    files = {}
    for name, document in made.items():
        if document is not None:
            files[name] = folder / name
            write_json(files[name], document)
    return files


def _patch(run: Run, documents: Documents, folder: Path) -> Path:
    """The patch, rewritten where its metadata names files of this machine; what it does stays."""
    patch, edit = Patch.load(run.patch_path), _edit_of(documents)
    metadata = public(patch.metadata, edit["model"], edit.get("base_model"))
    if metadata == patch.metadata:
        return run.patch_path
    path = folder / runs.PATCH
    Patch(patch.tensors, metadata).save(path)
    edit["patch"]["bytes"], edit["patch"]["sha256"] = path.stat().st_size, sha256_file(path)
    return path


def _drawings(run: Run) -> dict[str, bytes] | None:
    """The figures as they are in the run; None (draw them) where there are none."""
    drawn = {f.stem: f.read_bytes() for f in run.figures if f.suffix == ".svg"}
    return drawn or None


def _card(run: Run, what: str, repo_id: str, adapter: Adapter | None) -> str:
    """The card that names the repository; one that the user wrote or changed is kept."""
    text, own = card_to_publish(run.path, what=what, repo_id=repo_id, adapter=adapter)
    if own:
        say(f"taking {run.path / runs.CARD} as it is")
    return text


def _edit_of(documents: Documents) -> Edit:
    assert documents.edit is not None  # a run has one
    return documents.edit
