"""The levels at which a model can be edited: one row each, in the order in which they are shown.

How a level's items are counted, chosen and told apart is in `editing.selecting.items`, under the
same name. Everything else reads what it needs from here; a new level needs nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Granularity = Literal["full", "layer", "module", "row", "neuron", "unit"]


@dataclass(frozen=True)
class Level:
    """What is particular to a level.

    Attributes:
        name: the granularity. what: what is edited, for pages. items: what a budget counts.
        budget: the default one.
        max_kl: default limit of the divergence, in nats per token of general code. Perplexity of
            real code rises by about as much in relative terms, so these aim at 1 % for wide edits
            and half a percent for narrow ones; for single weights it rises by more.
        step: of Adam, relative to the root mean square of a tensor's selected weights.
        colour, marker: in figures; a colour of `figures.style`, a marker of matplotlib.
        ladder: the budgets that `auto` chooses from, the widest first; empty: there is no `auto`.
        everything: all weights are edited; there is nothing to choose.
        few: items are few and large: each can be tried, and a share of weights is no budget.
        extras: parameters besides the projections may be edited with it (`include`).
    """

    name: Granularity
    what: str
    items: str
    budget: str
    max_kl: float
    step: float
    colour: str
    marker: str
    ladder: tuple[str, ...] = ()
    everything: bool = False
    few: bool = False
    extras: bool = False


AUTO = "auto"  # the budget that is chosen from a level's ladder
_WIDE = tuple(f"{share}% of weights" for share in (1, 0.3, 0.1, 0.03))
_FINE = tuple(f"{share}% of weights" for share in (0.1, 0.05, 0.02, 0.01, 0.005))
_ROWS = (
    Level(
        name="full",
        what="all weights",
        items="decoder blocks",
        budget="100%",
        max_kl=0.01,
        step=0.004,
        colour="blue",
        marker="o",
        everything=True,
        few=True,
        extras=True,
    ),
    Level(
        name="layer",
        what="whole decoder layers",
        items="decoder blocks",
        budget="2",
        max_kl=0.01,
        step=0.006,
        colour="sky",
        marker="s",
        few=True,
        extras=True,
    ),
    Level(
        name="module",
        what="whole projection matrices",
        items="projection matrices",
        budget="4",
        max_kl=0.01,
        step=0.01,
        colour="green",
        marker="D",
        few=True,
    ),
    Level(
        name="row",
        what="single rows of projection matrices",
        items="rows",
        budget=AUTO,
        max_kl=0.006,
        step=0.1,
        colour="orange",
        marker="^",
        ladder=_WIDE,
    ),
    Level(
        name="neuron",
        what="single weights",
        items="weights",
        budget=AUTO,
        max_kl=0.004,
        step=0.3,
        colour="vermillion",
        marker="v",
        ladder=_FINE,
    ),
    Level(
        name="unit",
        what="hidden units of the MLPs",
        items="hidden units",
        budget=AUTO,
        max_kl=0.006,
        step=0.1,
        colour="purple",
        marker="P",
        ladder=_WIDE,
    ),
)
LEVELS: dict[str, Level] = {level.name: level for level in _ROWS}
GRANULARITIES: tuple[Granularity, ...] = tuple(level.name for level in _ROWS)
