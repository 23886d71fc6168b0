"""What is said about constants is what the edit runs with."""

from hfbiasedit.editing import constants
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.material import gathering
from hfbiasedit.levels import GRANULARITIES
from hfbiasedit.reports import facts


def _value(rows, name):
    return next(row["value"] for row in rows if name in row["constant"])


def test_values_are_those_in_use(monkeypatch):
    monkeypatch.setattr(gathering, "MORE_PROMPTS", 7)
    for level in GRANULARITIES:
        rows = constants.chosen_constants(level)
        assert _value(rows, "learn from") == gathering.EDIT_PROMPTS + 7
        assert _value(rows, "divergence") == EditConfig(granularity=level).allowed_kl
        assert len({row["constant"] for row in rows}) == len(rows)


def test_pages_say_what_was_chosen_where():
    rows = constants.chosen_constants("row")
    said = dict(facts._constants({"constants": rows}))
    places = {row["chosen_on"] for row in rows}
    assert set(said) == {f"constants chosen on {place}" for place in places}
    for row in rows:
        assert row["constant"] in said[f"constants chosen on {row['chosen_on']}"]
    assert facts._constants({}) == []
