"""Figures from a directory, a document or a report, into new axes or one's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.figures import plots, style
from tests.reports import fixtures


@pytest.fixture(scope="module")
def made():
    return fixtures.documents(30)


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    return fixtures.write_run(tmp_path_factory.mktemp("plots") / "run", made)


@pytest.mark.parametrize("draw", [plots.shares, plots.groups, plots.templates, plots.histogram])
def test_an_audit_is_drawn_from_its_document_or_its_report(made, draw):
    report = SimpleNamespace(to_dict=lambda: made["before"])
    first, second = (
        [text.get_text() for text in draw(source).axes[0].get_yticklabels()]
        for source in (made["before"], report)
    )
    assert first == second
    assert any(first)


@pytest.mark.parametrize(
    "draw",
    [
        plots.shares,
        plots.arrows,
        plots.splits,
        plots.groups,
        plots.histogram,
        plots.heatmap,
        plots.budgets,
    ],
)
def test_every_figure_of_a_run_fits_axes_that_are_given(run, draw):
    mine = style.new_figure(5, 5)
    axes = mine.subplots()
    assert draw(run, ax=axes) is mine
    assert axes.has_data()


def test_the_professions_named_are_those_of_the_highest_estimate(made):
    audit = made["before"] | {
        "professions": [
            {**row, "estimate": 0.9 if row["profession"].endswith("nurse") else 0.1}
            for row in made["before"]["professions"]
        ]
    }
    notes = [text.get_text() for text in plots.shares(audit).axes[0].texts]
    nurses = [row["profession"] for row in audit["professions"] if row["estimate"] == 0.9]
    assert nurses
    assert set(nurses) <= {note.rsplit(" (", 1)[0] for note in notes}


def test_what_a_source_does_not_hold_is_said(made):
    with pytest.raises(plots.NoSuchFigure, match="directory of a run"):
        plots.arrows(made["before"])
    with pytest.raises(plots.NoSuchFigure, match="directory of a run"):
        plots.splits(made["before"])
    few = [{**row, "prompts": 1} for row in made["before"]["by_template_group"]]
    with pytest.raises(plots.NoSuchFigure, match="fewer than five prompts"):
        plots.heatmap(made["before"] | {"by_template_group": few})
    with pytest.raises(BiasEditError, match="a directory, an audit's document or a report"):
        plots.shares(3)
