"""Records made by hand."""

from hfbiasedit.codegenbias.records import Record


def record(**values):
    """A record about a nurse, with the given fields instead."""
    fields = {
        "id": "x",
        "profession": "nurse",
        "plural": "nurses",
        "modifier": "",
        "polarity": "neutral",
        "template": "custom",
        "language": "python",
        "prompt": 'gender = "',
        "male": ("male",),
        "female": ("female",),
        "share_female": 0.5,
        "reference": "custom",
        "occupation": "",
        "group": "custom",
        "split": "edit",
    }
    return Record(**(fields | values))
