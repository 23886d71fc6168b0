"""`card AUDIT --push`: what a model scored, in the repository of the model itself."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants

from hfbiasedit.audits.sharing.standard import departure
from hfbiasedit.cards.audit_section import render_section, with_section
from hfbiasedit.cards.eval_results import AUDIT_FILE, with_audit
from hfbiasedit.cards.metadata import DATASET_ID
from hfbiasedit.console import message as say
from hfbiasedit.documents import runs
from hfbiasedit.documents.reading import open_documents
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.remote import files_at
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.publishing.adding import add_files, adder, read_file
from hfbiasedit.publishing.publication import Publisher
from hfbiasedit.publishing.result import PushResult

_WEIGHTS = (".safetensors", ".bin")


def push_audit(
    directory: str | Path,
    repo_id: str,
    *,
    create_pr: bool = False,
    dry_run: bool = False,
    message: str | None = None,
    dataset_id: str = DATASET_ID,
) -> PushResult:
    """Put an audit on the page of the model that was measured: card section and evaluation file.

    The section stands between markers in `README.md`, of which the rest stays as it is;
    `.eval_results/codegenbias.yaml` gets an entry where the prompts are those of CodeGenBias. Where
    the user may not write, this is a pull request.

    Args:
        directory: the output of `audit --out`. repo_id: the model's repository.
        create_pr: open a pull request in any case. dry_run: plan only.
        message: title of the commit. dataset_id: the Hub id of the prompts.

    Raises:
        BiasEditError: the audit is of another model, of a patched one, or of weights that the
            repository no longer holds.
    """
    audit = measured(directory)
    publisher = adder(repo_id, create_pr=create_pr, dry_run=dry_run)
    _check_model(publisher, audit)
    card = _text(read_file(publisher, runs.CARD) or b"", runs.CARD)
    section = render_section(audit, publisher.repo_id)
    files = {runs.CARD: with_section(card, section).encode()}
    if reason := departure(audit):
        say(f"no evaluation file, only the card section: {reason}")
    else:
        known = _text(read_file(publisher, AUDIT_FILE) or b"", AUDIT_FILE)
        files[AUDIT_FILE] = with_audit(known, audit, dataset_id).encode()
    title = message or f"Gender bias measured: FB-Score {audit['fb_score']:.1f} (CodeGenBias)"
    return add_files(publisher, files, title)


def measured(directory: str | Path) -> Audit:
    """The audit of a directory, if it is of a model as it is published.

    Raises:
        BiasEditError: it is of an edited model, or there is none.
    """
    documents = open_documents(directory)
    if documents.after is not None or documents.before["patch"] is not None:
        raise BiasEditError(
            f"{directory} is about an edited model, which has a card of its own: hfbiasedit push"
        )
    return documents.before


def _check_model(publisher: Publisher, audit: Audit) -> None:
    """Refuse a score of other weights than the repository holds."""
    model, repo_id = audit["model"], publisher.repo_id
    commit = model["revision"]
    if commit is None or model["id"].lower() != repo_id.lower():
        raise BiasEditError(
            f"the audit is of {model['id']}{'' if commit else ' (a local directory)'}, not of "
            f"{repo_id}; measure that: hfbiasedit audit {repo_id} --out DIR"
        )
    if commit == publisher.remote.head:
        return
    then = with_retries(
        lambda: files_at(publisher.api, repo_id, constants.REPO_TYPE_MODEL, commit),
        f"listing {repo_id} at {commit[:7]}",
    )
    now = publisher.remote.files
    for path in {*then, *now}:
        if path.endswith(_WEIGHTS) and then.get(path) != now.get(path):
            raise BiasEditError(
                f"{path} of {repo_id} has changed since commit {commit[:7]}, which was measured; "
                f"measure again: hfbiasedit audit {repo_id} --out DIR"
            )


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BiasEditError(f"{path} in the repository is no UTF-8 text; mend it first") from error
