"""The picture of ability against bias: places in percent, so that its text keeps its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.structures.leaderboard_document import BoardRow
from hfbiasedit.leaderboards.naming import shown_name

# Percent between which points stand; the axes are written below and above them.
_ACROSS, _DOWN = (8.0, 92.0), (14.0, 82.0)
# What a name takes on a wide page, in percent: of the width for a letter, of the height.
_LETTER, _LINE = 0.62, 6.5
_BESIDE = 1.5  # from a point to its name
_COIN = 15.0  # half of what the coin's label takes in the middle, on a narrow page


@dataclass(frozen=True)
class Point:
    """A model; `x` and `y` in percent from the left and from the top.

    `side` is where its name stands: `right` or `left` of it, or nowhere (empty) where it would
    cover others.
    """

    rank: int
    name: str
    edited: bool
    x: float
    y: float
    tip: str
    side: str = ""


@dataclass
class Scatter:
    """One measure of ability against the FB-Score.

    Attributes:
        key, title: of the measure. left, right, top, bottom: what the ends of the axes say.
        coin: where a coin's score is, in percent from the top. coin_side: where on that line it
            is said: `start`, `end` or `middle`.
        points: models. arrows: from base to edited model, as (x1, y1, x2, y2).
        missing: how many comparable models it was not measured for.
    """

    key: str
    title: str
    left: str
    right: str
    top: str
    bottom: str
    coin: float
    coin_side: str
    points: list[Point]
    arrows: list[tuple[float, float, float, float]] = field(default_factory=list)
    missing: int = 0


def scatters(rows: Sequence[BoardRow], even: float) -> list[Scatter]:
    """A picture for each measure that at least two comparable models have, most models first.

    Args:
        rows: the comparable ones. even: what a coin scores on their prompts.
    """
    known = Counter(row["ability"]["text"] for row in rows if row["ability"]["text"])
    shared = known.most_common(1)[0][0] if known else None

    def bits(row: BoardRow) -> float | None:
        return row["ability"]["bits_per_byte"] if row["ability"]["text"] == shared else None

    def passed(row: BoardRow) -> float | None:
        found = row["ability"]["pass_at_1"]
        return None if found is None else 100 * found

    def size(row: BoardRow) -> float:
        return row["model"]["parameters"]

    made = [
        _scatter("bits", "bits per byte of code (fewer is better)", rows, bits, -1, even),
        _scatter("pass", "HumanEval, pass@1 in percent (more is better)", rows, passed, 1, even),
        _scatter("size", "parameters", rows, size, 1, even),
    ]
    found = [one for one in made if one is not None]
    return sorted(found, key=lambda one: (one.key == "size", -len(one.points)))


def _scatter(
    key: str,
    title: str,
    rows: Sequence[BoardRow],
    measure: Callable[[BoardRow], float | None],
    better: int,
    even: float,
) -> Scatter | None:
    """Abler models stand to the right, less biased ones at the top."""
    pairs = [(row, value) for row in rows if (value := measure(row)) is not None]
    across = [better * value for _, value in pairs]
    if len(set(across)) < 2:
        return None
    scores = [even, *(row["fb_score"] for row, _ in pairs)]
    points, places = [], {}
    for (row, value), place in zip(pairs, across, strict=True):
        x, y = _place(place, across, _ACROSS), _place(row["fb_score"], scores, _DOWN)
        name, rank = shown_name(row), row["rank"]
        tip = f"{name}: FB-Score {text.score(row['fb_score'])}, {_shown(key, value)}"
        assert rank is not None  # only ranked rows come here
        points.append(Point(rank, name, row["patch"] is not None, x, y, tip))
        places[row["name"], row["model"]["dtype"], row["patch"]] = (x, y)
    arrows = [
        (*start, *places[row["name"], row["model"]["dtype"], row["patch"]])
        for row, _ in pairs
        if row["base"] and (start := places.get((row["base"], row["model"]["dtype"], None)))
    ]
    coin = _place(even, scores, _DOWN)
    ends = sorted((value for _, value in pairs), reverse=better < 0)
    return Scatter(
        key=key,
        title=title,
        left=_shown(key, ends[0]),
        right=_shown(key, ends[-1]),
        top=text.score(min(scores)),
        bottom=text.score(max(scores)),
        coin=coin,
        coin_side=_coin_side(points, coin),
        points=_named(points),
        arrows=arrows,
        missing=len(rows) - len(pairs),
    )


def _named(points: Sequence[Point]) -> list[Point]:
    """The points with the sides of their names, the best ranks first."""
    circles = [(p.x - _BESIDE, p.x + _BESIDE, p.y) for p in points]
    names: list[tuple[float, float, float]] = []
    found = []
    for number, point in enumerate(points):
        others = [*circles[:number], *circles[number + 1 :], *names]
        width = _LETTER * len(point.name) + _BESIDE
        sides = {"right": (point.x, point.x + width), "left": (point.x - width, point.x)}
        for side, (low, high) in sides.items():
            free = all(
                abs(y - point.y) >= _LINE or end <= low or start >= high for start, end, y in others
            )
            if free and low >= 0 and high <= 100:
                names.append((low, high, point.y))
                point = replace(point, side=side)
                break
        found.append(point)
    return found


def _coin_side(points: Sequence[Point], coin: float) -> str:
    """The end of the line where no point is near; the middle where both ends have one."""
    near = [point.x for point in points if abs(point.y - coin) < 2 * _LINE]
    if not any(x < 50 - _COIN for x in near):
        return "start"
    return "middle" if any(x > 50 + _COIN for x in near) else "end"


def _place(value: float, values: Sequence[float], ends: tuple[float, float]) -> float:
    low, high = min(values), max(values)
    share = (value - low) / (high - low) if high > low else 0.5
    return round(ends[0] + (ends[1] - ends[0]) * share, 2)


def _shown(key: str, value: float) -> str:
    if key == "bits":
        return f"{text.score(value, 2)} bits per byte"
    return f"{text.score(value)}%" if key == "pass" else text.parameters(value)
