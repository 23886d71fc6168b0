"""Figures from a directory, a document or a report, into new axes or one's own."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Text

from hfbiasedit.documents.reading import open_documents, read_audit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.figures import plots, style
from hfbiasedit.figures.run import FIGURES
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


@pytest.mark.parametrize("name", FIGURES)
def test_no_words_of_a_figure_are_cut_off(made, tmp_path, name):
    documents = copy.deepcopy(made)
    for side in ("before", "after"):
        for row in documents[side]["professions"]:
            row["profession"] += " of customer service"
    figure = FIGURES[name](open_documents(fixtures.write_run(tmp_path / "run", documents)))
    with style.settings():
        style.freeze_layout(figure)
    box = figure.get_tightbbox(figure.canvas.get_renderer())  # inches, of what is drawn
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.01


def real_audits():
    """Audits of published models, which ship as an example."""
    folder = Path(__file__).parents[2] / "examples" / "leaderboard" / "audits"
    return sorted(folder.glob("*/audit*.json"))


@pytest.mark.parametrize("path", real_audits(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_names_of_real_professions_cover_no_point_and_no_other_name(path):
    """Real shares lie close together, in corners and on the edges."""
    figure = plots.shares(read_audit(path))
    with style.settings():
        style.freeze_layout(figure)
        figure.draw_without_rendering()  # axes take their shape when they are drawn
    (axes,) = figure.axes
    names = [Text.get_window_extent(text) for text in axes.texts if text.get_text()]
    assert len(names) == 6
    assert not any(a.overlaps(b) for i, a in enumerate(names) for b in names[:i])
    for part in axes.collections:
        if isinstance(part, PathCollection):
            for x, y in axes.transData.transform(part.get_offsets()):
                assert not any(box.padded(2).contains(x, y) for box in names)


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
