"""`audit --submit`: adding an audit to a dataset of audits that many people fill."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from hfbiasedit.audits.sharing.standard import departure
from hfbiasedit.documents.public import public
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json
from hfbiasedit.publishing.adding import add_files, adder
from hfbiasedit.publishing.result import PushResult

FOLDER = "audits"  # in the dataset; `leaderboard` reads what is under it


class Submission:
    """A dataset that an audit will go to, asked before the model is loaded."""

    def __init__(self, dataset: str, *, create_pr: bool = False, dry_run: bool = False) -> None:
        """Look at the dataset.

        Raises:
            BiasEditError: not logged in to write, or there is no such dataset.
        """
        self._publisher = adder(dataset, "dataset", create_pr=create_pr, dry_run=dry_run)

    def send(self, audit: Audit) -> PushResult:
        """Add an audit in one commit or pull request; the same measurement replaces itself.

        Raises:
            BiasEditError: it is not of CodeGenBias as it ships, so that nothing is comparable.
        """
        if reason := departure(audit):
            raise BiasEditError(f"the audit cannot be submitted: {reason}")
        shown = public(audit, audit["model"])
        text = json.dumps(shown, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        title = f"{shown['model']['id']}: FB-Score {audit['fb_score']:.1f}"
        if audit["patch"] is not None:
            title += f" with patch {audit['patch'][:12]}"
        return add_files(self._publisher, {place_of(shown): text.encode()}, title)


def place_of(audit: Audit) -> str:
    """The path of an audit in a dataset: the same for every measurement of the same thing."""
    model, dataset = audit["model"], audit["dataset"]
    identity: dict[str, Any] = {
        "model": model.get("digest") or f"{model['id']}@{model['revision']}",
        "dtype": model["dtype"],
        "quantization": model.get("quantization"),
        "patch": audit["patch"],
        "prompts": audit["prompts_digest"],
    }
    # Where all is as usual they are left out: files of earlier versions stay where they are.
    if chat := audit.get("chat"):
        identity["chat"] = chat
    if backend := audit.get("backend"):
        told = ("name", "model", "arguments")  # another version is a later measurement
        identity["backend"] = {key: value for key, value in backend.items() if key in told}
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.-]+", "--", model["id"]).strip(".-") or "model"
    config = re.sub(r"[^\w.-]+", "-", f"{dataset['config']}-{dataset['split']}")
    return f"{FOLDER}/{name}/{config}-{digest}.json"
