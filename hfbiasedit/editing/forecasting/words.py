"""A forecast as tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfbiasedit.documents.structures.forecast_document import Forecast
from hfbiasedit.levels import LEVELS

if TYPE_CHECKING:
    from rich.table import Table

_MEMORY = {
    "model": "model",
    "activations": "activations of a pass",
    "hidden_states": "hidden states and windows",
    "sketches": "sketched gradients",
    "rows": "rows of the linear models",
    "gram": "inner products",
    "host": "peak of main memory",
    "device": "peak of the device",
    "disk": "temporary files",
}


# Weights below which matrix products, of which the time is forecast, are not most of the work: an
# edit of the demo model (3.4 million) takes twice as long, one of SmolLM2-135M does not.
_SMALL = 50_000_000


def tables(document: Forecast) -> list[Table]:
    """Passes and memory."""
    from rich.table import Table

    title = f"{document['model']['id']}: a {document['granularity']} edit, about"
    passes = Table(title=title, title_justify="left", box=None)
    for name in ("stage", "over", "prompts", "tokens", "times", "back", "operations"):
        passes.add_column(name, justify="left" if name in ("stage", "over") else "right")
    for row in document["passes"]:
        passes.add_row(
            row["stage"],
            row["what"],
            f"{row['prompts']:,}",
            f"{row['tokens']:,}",
            str(row["times"]),
            "yes" if row["backward"] else "",
            f"{row['operations']:.1e}",
        )
    memory = Table(title="memory", title_justify="left", box=None)
    memory.add_column("of")
    memory.add_column("MB", justify="right")
    sizes: dict[str, int] = dict(document["memory"])  # type: ignore[arg-type]
    for name, words in _MEMORY.items():
        memory.add_row(words, f"{sizes[name] / 1e6:,.0f}")
    return [passes, memory]


def sentences(document: Forecast) -> list[str]:
    """Weights, time."""
    model, widest, seconds = document["model"], document["budgets"][0], document["seconds"]
    smallest = document["budgets"][-1]
    noun = LEVELS[document["granularity"]].items
    few = f"{smallest['weights']:,} to " if smallest is not widest else ""
    cut = f" ({widest['coordinates']:,} directions)" if widest["cut"] else ""
    small = ""
    if model["parameters"] < _SMALL:
        small = "; a model as small as this takes two or three times as long"
    return [
        f"{model['parameters']:,} weights in {document['blocks']} blocks, "
        f"{document['projections']} projections, {model['dtype']} on {model.get('device')}",
        f"{few}{widest['weights']:,} weights{cut}, about {widest['items']:,} of "
        f"{widest['of']:,} {noun}",
        f"about {seconds['wall']:.0f} s ({seconds['processor']:.0f} s of the processors){small}",
    ]
