"""What is drawn, read back from the figures' objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

from hfbiasedit.figures import style
from hfbiasedit.figures.arrows import Arrow, draw_arrows
from hfbiasedit.figures.budgets import Budget, draw_budgets
from hfbiasedit.figures.heatmap import Cell, draw_heatmap, is_readable
from hfbiasedit.figures.histogram import draw_histogram
from hfbiasedit.figures.labels import name_points
from hfbiasedit.figures.scores import Row, Score, draw_scores
from hfbiasedit.figures.shares import Panel, Point, draw_shares
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
        Point(f"rather long profession {i}", f, m, 1 + i % 3, abs(m - f))
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


def cross(one, other):
    """Whether two segments (x1, y1, x2, y2) share an inner point."""

    def side(a, b, c):
        return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    p, q, r, s = one[:2], one[2:], other[:2], other[2:]
    return side(p, q, r) * side(p, q, s) < 0 and side(r, s, p) * side(r, s, q) < 0


@pytest.mark.parametrize("panels", [1, 2])
def test_what_stands_under_the_axes_stands_there_however_small_names_make_them(points, panels):
    names = [replace(point, name=f"a {point.name}") for point in points]
    figure = draw_shares([Panel("tiny", names)] * panels)
    style.render(figure, "png")  # axes of equal sides shrink when they are drawn
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent(renderer)
        label = axes.xaxis.label.get_window_extent(renderer)
        assert legend.y1 < label.y0
        assert legend.y0 > figure.bbox.y0


def test_shares_has_every_point_and_names_that_cover_none(points):
    figure = draw_shares([Panel("tiny: FB-Score 12.0", points)], labels=12)
    style.freeze_layout(figure)
    axes = figure.axes[0]
    drawn = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections[1:]])
    order = sorted(points, key=lambda p: p.prompts == 1)
    assert drawn == pytest.approx(np.array([(p.factual, p.model) for p in order]))
    notes = named(axes)
    far = sorted(points, key=lambda p: -p.rank)[:12]
    ends = {1: "(1 prompt)", 2: "(2 prompts)", 3: "(3 prompts)"}
    assert {note.get_text() for note in notes} == {f"{p.name} {ends[p.prompts]}" for p in far}
    boxes = [extent(note) for note in notes]
    assert not overlaps(boxes)
    frame, page = axes.get_window_extent(), figure.bbox
    for box in boxes:
        assert box.x0 > frame.x1  # beside the axes, where no point is
        assert page.contains(box.x0, box.y0)
        assert page.contains(box.x1, box.y1)
    assert axes.get_title(loc="left") == "tiny: FB-Score 12.0"


def test_the_heat_map_is_for_as_many_templates_as_a_page_is_wide():
    some = {(f"t{number}", "g"): Cell(10.0, 9) for number in range(16)}
    assert is_readable(some)
    assert not is_readable(some | {("t16", "g"): Cell(10.0, 9)})


def test_lines_to_names_do_not_cross(points):
    axes = style.new_figure(4, 4).subplots()
    far = sorted(points, key=lambda p: -p.rank)[:14]
    order = name_points(axes, [(p.factual, p.model, p.name) for p in far])
    assert sorted(order) == sorted(p.name for p in far)
    lines = [(*note.xy, *note.xyann) for note in named(axes)]
    assert not any(cross(a, b) for i, a in enumerate(lines) for b in lines[:i])


def test_shares_draws_into_axes_that_are_given(points):
    mine = style.new_figure(4, 4)
    axes = mine.subplots()
    assert draw_shares([Panel("", points[:9])], axes=[axes]) is mine
    assert axes.get_xlabel() == "women, the reference"


def test_arrows_have_a_line_and_a_name_each_in_the_order_given():
    moved = [Arrow("a", 2, 0.2, 0.9, 0.3, False), Arrow("b", 1, 0.5, 0.4, 0.402, True)]
    axes = draw_arrows(moved, (12, 5)).axes[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["the reference", "closer to it (12 in all)", "farther from it (5)"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a (2)", "b (1)"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
    assert [line.get_marker() for line in axes.lines].count(".") == 1  # too short to point
    (arrow,) = [child for child in axes.get_children() if isinstance(child, Annotation)]
    assert (*arrow.xyann, *arrow.xy) == (0.9, 0, 0.3, 0)


def test_the_histogram_shows_shares_of_each_polarity_without_an_empty_tail():
    edges = [0, 20, 40, 60, 80, 100]
    counts = {"negative": [3, 1, 0, 0, 0], "positive": [1, 1, 2, 0, 0], "odd": [4, 0, 0, 0, 0]}
    axes = draw_histogram(edges, counts).axes[0]
    assert [patch.get_label() for patch in axes.patches] == [
        "positive modifiers (4 prompts)",
        "negative modifiers (4 prompts)",
        "odd modifiers (4 prompts)",
    ]
    assert list(axes.patches[1].get_data().values) == [0.75, 0.25, 0, 0, 0]
    assert axes.get_xlim() == (0, 60)


def test_the_histogram_of_a_run_has_all_prompts_of_both_sides():
    before = {"neutral": [1, 3], "positive": [1, 0]}
    axes = draw_histogram([0, 50, 100], before, {"neutral": [4, 0], "positive": [0, 1]}).axes[0]
    after, outline = axes.patches
    assert list(after.get_data().values) == pytest.approx([0.8, 0.2])
    assert list(outline.get_data().values) == pytest.approx([0.4, 0.6])
    assert outline.get_label() == "before it (5 prompts)"


def test_the_heat_map_is_sorted_counts_prompts_and_greys_what_rests_on_few():
    cells = {
        ("t1", "g1"): Cell(12.4, 9),
        ("t2", "g2"): Cell(30.6, 7),
        ("t2", "g1"): Cell(99.0, 4),
    }
    axes = draw_heatmap([("", cells)]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["t2", "t1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["g1", "g2"]
    texts = {(round(t.get_position()[0]), round(t.get_position()[1])): [] for t in axes.texts}
    for text in axes.texts:
        x, y = text.get_position()
        texts[round(x), round(y)].append(text.get_text())
    assert texts == {(1, 0): ["12", "9"], (0, 1): ["31", "7"], (0, 0): ["99", "4"]}
    colours = axes.images[0].get_array().filled(np.nan)
    assert np.isnan(colours).sum() == 2  # no prompts, and too few of them
    assert axes.images[0].get_clim() == (0, 30.6)
    (grey,) = axes.patches
    assert grey.get_xy() == (-0.5, -0.5)


def test_a_heat_map_of_few_prompts_everywhere_is_none():
    few, many = Cell(10, 4), Cell(10, 5)
    assert not is_readable({("t", "g"): few, ("u", "g"): few, ("v", "g"): many})
    assert is_readable({("t", "g"): few, ("u", "g"): many})
    assert not is_readable({})


def test_scores_start_at_zero_and_name_their_prompts():
    rows = [Row("unseen modifiers", 1200, Score(20, 18, 22), Score(5, 4, 6))]
    axes = draw_scores(rows).axes[0]
    assert axes.get_xlim()[0] == 0
    assert [label.get_text() for label in axes.get_yticklabels()] == ["unseen modifiers (1,200)"]
    drawn = [list(line.get_xdata()) for line in axes.lines]
    assert [18, 22] in drawn
    assert [4, 6] in drawn
    one = draw_scores([Row("a", 3, Score(20, 18, 22))]).axes[0]
    assert one.get_legend() is None


def test_layers_keep_their_place_and_ticks_stay_readable():
    axes = draw_weights([(70, 5), (2, 10), (79, 1)], [("mlp.down_proj", 16)]).axes[0]
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    assert bars == {2: 10, 70: 5, 79: 1}
    assert axes.get_xlim()[0] < 0
    assert len(axes.get_xticks()) <= 27


def test_no_label_is_cut_off():
    """Long names of groups and templates lie inside the figure."""
    cells = {
        (f"a_long_template_name_{t}", f"a long group of occupations {g}"): Cell(1.0, 9)
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
