"""Whether an audit is of the prompts that its configuration names, all of them."""

from __future__ import annotations

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.references import BUILTIN_REFERENCES
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.errors import BiasEditError


def departure(audit: Audit) -> str:
    """Why an audit cannot stand beside others of CodeGenBias, in words; empty where it can."""
    dataset = audit["dataset"]
    if dataset["config"] == "custom":
        return "it is of prompts of one's own"
    if dataset["reference"] not in BUILTIN_REFERENCES:
        return f"it is against a reference of one's own ({dataset['reference']})"
    try:
        known = load_prompts(dataset["config"], dataset["split"], reference=dataset["reference"])
    except BiasEditError as error:
        return str(error)
    if known.digest != audit["prompts_digest"]:
        return (
            f"it is not of all prompts of {dataset['config']}/{dataset['split']} (--limit, "
            "--professions, or another version of them)"
        )
    return ""
