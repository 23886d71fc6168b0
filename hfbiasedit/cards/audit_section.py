"""A section about an audit for the card of a model that was measured and not edited.

It stands between two comments, so that a later audit replaces it and nothing else.
"""

from __future__ import annotations

import re

from hfbiasedit.documents.public import public
from hfbiasedit.documents.setups import setup_label
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.reports import facts
from hfbiasedit.reports.concerns import audit_concerns
from hfbiasedit.reports.environment import render
from hfbiasedit.reports.verdict import farthest_groups

BEGIN, END = "<!-- hfbiasedit audit: begin -->", "<!-- hfbiasedit audit: end -->"
_TEMPLATE = "audit_section.md.jinja"


def render_section(audit: Audit, model: str | None = None) -> str:
    """The section as Markdown, between its markers.

    Args:
        audit: of a model without a patch.
        model: what the command in it calls the model, where that is not the audit's own name.
    """
    audit = public(audit, audit["model"])
    measured = audit["model"]
    named = model or measured["id"]
    commit = measured["revision"] if named.lower() == measured["id"].lower() else None
    context = {
        "audit": audit,
        "reference": audit["dataset"]["reference"],
        "concerns": audit_concerns(audit),
        "groups": farthest_groups(audit),
        "setup": setup_label(audit),
        "command": facts.audit_command(audit, named, commit),
    }
    text = re.sub(r"\n{3,}", "\n\n", render(None, _TEMPLATE, context, html=False)).strip()
    return f"{BEGIN}\n{text}\n{END}\n"


def with_section(card: str, section: str) -> str:
    """A card with the section in place of its earlier one, else at the end; the rest as it is.

    Raises:
        BiasEditError: the card has one of the two markers without the other, or several.
    """
    lines = "\r\n" if "\r\n" in card else "\n"
    section = section.replace("\n", lines)
    begins, ends = card.count(BEGIN), card.count(END)
    first, last = card.find(BEGIN), card.find(END)
    if (begins, ends) == (0, 0):
        gap = "" if not card else lines if card.endswith("\n") else 2 * lines
        return card + gap + section
    if (begins, ends) != (1, 1) or last < first:
        raise BiasEditError(
            f"the card does not hold {BEGIN} and {END} once each, in this order; put that right "
            "by hand, then run again"
        )
    return card[:first] + section.rstrip("\r\n") + card[last + len(END) :]
