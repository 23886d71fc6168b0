"""What is drawn, read back from the figures' objects."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

from hfbiasedit.figures import style
from hfbiasedit.figures.arrows import Movement, draw_arrows
from hfbiasedit.figures.budgets import Budget, draw_budgets
from hfbiasedit.figures.carryover import Row, draw_intervals
from hfbiasedit.figures.heatmap import draw_heatmap
from hfbiasedit.figures.histogram import draw_histogram
from hfbiasedit.figures.shares import Point, draw_shares
from hfbiasedit.figures.weights import draw_weights

NUMBER = 315  # as many professions as ship


@pytest.fixture(autouse=True)
def _look():
    with style.settings():
        yield


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(3)
    factual = rng.uniform(0.01, 0.98, NUMBER)
    model = np.clip(factual**2 + rng.normal(0, 0.08, NUMBER), 0, 1)
    return [
        Point(f"rather long profession {i}", f, m)
        for i, (f, m) in enumerate(zip(factual, model, strict=True))
    ]


def named(axes):
    return [
        child for child in axes.get_children() if isinstance(child, Annotation) and child.get_text()
    ]


def extent(note):
    """The words alone, without the line that leads to the point."""
    note.update_positions(note.figure.canvas.get_renderer())
    return Text.get_window_extent(note)


def overlaps(boxes):
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_shares_has_every_point_and_names_that_do_not_overlap(points):
    figure = draw_shares([("", points)], labels=12)
    axes = figure.axes[0]
    offsets = np.asarray(axes.collections[-1].get_offsets())
    assert offsets == pytest.approx(np.array([(p.factual, p.model) for p in points]))
    notes = named(axes)
    assert len(notes) >= 6
    boxes = [extent(note) for note in notes]
    assert not overlaps(boxes)
    frame = axes.get_window_extent().padded(2)
    assert all(
        frame.contains(*corner) for box in boxes for corner in ((box.x0, box.y0), (box.x1, box.y1))
    )
    far = sorted(points, key=lambda p: -abs(p.model - p.factual))[:12]
    assert {note.get_text() for note in notes} <= {p.name for p in far}


def test_arrows_count_both_kinds_and_keep_the_order(points):
    moves = [
        Movement(p.name, p.factual, p.model, (p.model + p.factual) / 2, -1.0) for p in points[:-5]
    ]
    moves += [Movement(p.name, p.factual, p.factual, p.factual + 0.1, 10.0) for p in points[-5:]]
    moves[0] = Movement(moves[0].name, moves[0].factual, 0.3, 0.3002, 0.02)
    axes = draw_arrows(moves).axes[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[1:] == ["closer to reality (309)", "farther from it (5)", "neither (1)"]
    line = axes.lines[0].get_ydata()
    assert list(line) == sorted(p.factual for p in points)
    boxes = [extent(note) for note in named(axes)]
    assert boxes
    assert not overlaps(boxes)


def test_an_arrow_too_short_to_point_is_a_dot():
    axes = draw_arrows(
        [Movement("a", 0.5, 0.4, 0.4, 0.0), Movement("b", 0.2, 0.9, 0.3, -60.0)]
    ).axes[0]
    assert [line.get_marker() for line in axes.lines if line.get_marker() == "."] == ["."]


def test_the_histogram_shows_shares_of_each_polarity_without_an_empty_tail():
    edges = [0, 20, 40, 60, 80, 100]
    counts = {"negative": [3, 1, 0, 0, 0], "positive": [1, 1, 2, 0, 0], "odd": [4, 0, 0, 0, 0]}
    figure = draw_histogram(edges, counts)
    assert [axes.get_title(loc="left").split(" ")[0] for axes in figure.axes] == [
        "positive",
        "negative",
        "odd",
    ]
    assert list(figure.axes[1].patches[0].get_data().values) == [0.75, 0.25, 0, 0, 0]
    assert figure.axes[0].get_xlim() == (0, 60)


def test_the_histogram_of_a_run_has_both_distributions():
    figure = draw_histogram([0, 50, 100], {"neutral": [1, 3]}, {"neutral": [4, 0]})
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["after", "before"]


def test_the_heat_map_leaves_cells_without_prompts_empty():
    figure = draw_heatmap([("", {("t1", "g1"): 12.4, ("t2", "g2"): 30.6})])
    axes = figure.axes[0]
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((0, 0), "12"),
        ((1, 1), "31"),
    }
    assert np.isnan(axes.images[0].get_array().filled(np.nan)).sum() == 2


def test_intervals_start_at_zero():
    figure = draw_intervals([Row("unseen modifiers", 20, (18, 22), 5, (4, 6))])
    assert figure.axes[0].get_xlim()[0] == 0


def test_layers_keep_their_place_and_ticks_stay_readable():
    axes = draw_weights([(70, 5), (2, 10), (79, 1)], [("mlp.down_proj", 16)]).axes[0]
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    assert bars == {2: 10, 70: 5, 79: 1}
    assert axes.get_xlim()[0] < 0
    assert len(axes.get_xticks()) <= 27


def test_no_label_is_cut_off():
    """Long names of groups and templates lie inside the figure."""
    cells = {
        (f"a_long_template_name_{t}", f"a long group of occupations {g}"): 1.0
        for t in range(20)
        for g in range(15)
    }
    figure = draw_heatmap([("before", cells), ("after", cells)])
    style.freeze_layout(figure)
    for axes in figure.axes:
        for label in (*axes.get_yticklabels(), *axes.get_xticklabels()):
            box = label.get_window_extent()
            assert box.x0 >= 0
            assert box.y0 >= 0


def test_colours_differ_for_colour_blind_readers():
    """Before and after differ in luminance as well as in hue."""

    def luminance(colour):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert abs(luminance(style.BEFORE) - luminance(style.AFTER)) > 0.2
    assert abs(luminance(style.BLUE) - luminance(style.VERMILLION)) > 0.05


def test_budgets_beyond_the_allowed_divergence_are_hollow_and_the_chosen_one_has_a_ring():
    tried = [Budget(900, 8.0, 0.02, False), Budget(30, 9.0, 0.01, True), Budget(3, 14, 0.0, False)]
    axes = draw_budgets(tried, 0.01).axes[0]
    within, beyond, ring = axes.collections
    assert within.get_offsets().tolist() == [[3, 14], [30, 9]]
    assert beyond.get_offsets().tolist() == [[900, 8]]
    assert beyond.get_facecolor().tolist() == [[1, 1, 1, 1]]
    assert ring.get_offsets().tolist() == [[30, 9]]
    assert list(axes.lines[0].get_xdata()) == [3, 30, 900]


def test_one_budget_alone_is_drawn():
    axes = draw_budgets([Budget(5, 0.0, 0.0, True)], 0.01).axes[0]
    assert axes.get_ylim() == (0, pytest.approx(1.15))
