"""What an edit did to coding ability, in a sentence per task."""

from hfbiasedit.abilities.summary import sentences


def test_what_was_measured_is_said_and_nothing_else():
    change = {
        "relative_change": 0.0123,
        "relative_change_ci95": [-0.001, 0.0256],
        "top1_changed": 0.0341,
    }
    syntax = {side: {"greedy": {"rate": rate}} for side, rate in (("before", 0.75), ("after", 0.5))}
    perplexity, parsing = sentences({"perplexity": change, "syntax": syntax})
    assert perplexity == (
        "Perplexity of real code: +1.23 % (-0.10 to +2.56); "
        "the likeliest token changes at 3.4 % of places."
    )
    assert parsing == "Completions that parse: 75 % before, 50 % after."
    assert sentences({"perplexity": change}) == [perplexity]
    assert sentences(None) == sentences({}) == []
