"""What is counted the same way wherever it is written."""

from __future__ import annotations

from hfbiasedit.documents.structures.edit_document import Edit, Weights


def edited_weights(edit: Edit) -> Weights:
    """The weights that every page calls edited: those whose stored bits changed.

    Documents of older versions counted only what might have changed.
    """
    return edit["edited"] if "edited" in edit else edit["selection"]
