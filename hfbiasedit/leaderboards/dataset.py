"""A dataset of audits on the Hub, brought to this machine."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.audits.sharing.submission import FOLDER
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import hub_api


def pull_audits(dataset: str) -> Path:
    """Fetch the reports of a dataset (`owner/name`, or `owner/name@revision`).

    Raises:
        BiasEditError: it holds no audits.
        huggingface_hub.errors.HfHubHTTPError: missing, private, ...; see `hub.failures.explain`.
    """
    name, _, revision = dataset.partition("@")
    api = hub_api()
    commit = with_retries(
        lambda: api.repo_info(name, repo_type="dataset", revision=revision or None).sha,
        f"asking for {name}",
    )
    folder = with_retries(
        lambda: api.snapshot_download(
            name, repo_type="dataset", revision=commit, allow_patterns=[f"{FOLDER}/*.json"]
        ),
        f"fetching {name}",
    )
    found = Path(folder, FOLDER)
    if not found.is_dir():
        raise BiasEditError(
            f"{name} holds no {FOLDER}/; add one with: hfbiasedit audit MODEL --submit {name}"
        )
    return found
