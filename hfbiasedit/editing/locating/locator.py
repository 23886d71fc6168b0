"""Locate: which blocks, matrices, rows and weights carry the bias."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.documents.runs import RANKING
from hfbiasedit.editing.config import LocateConfig, LocateOverrides
from hfbiasedit.editing.inputs import check_blocks, check_inputs, numbered_blocks
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.method import EntryScores, Evidence, saliency_of
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.material.prompts import Prompts, gather_prompts, measure_original
from hfbiasedit.models.architecture import projections, refuse_quantised

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfbiasedit.models.loading import LoadedModel

LOCATE_PROMPTS = 512


@dataclass
class Location:
    """What `locate` found: the ranking, the blocks to edit, how single weights are judged."""

    ranking: Ranking
    blocks: list[int]
    entry_scores: EntryScores
    seconds: float
    prices: Mapping[str, Price] | None = None

    def save(self, folder: Path) -> list[Path]:
        """Write `ranking.parquet` and the layer x module heat map; returns the paths."""
        from hfbiasedit.figures import localisation as figure
        from hfbiasedit.figures import style

        folder = Path(folder)
        path = folder / RANKING
        self.ranking.save(path)
        with style.settings():
            roles, cells = self.ranking.map()
            drawn = figure.draw_saliency(roles, cells.numpy(), self.ranking.saliency, self.blocks)
            return [path, *style.save(drawn, folder / "figures" / "saliency")]


def locate(
    model: str | Path | LoadedModel,
    config: LocateConfig | None = None,
    **overrides: Unpack[LocateOverrides],
) -> Location:
    """Rank the weights of a model by how much they carry the bias of the `edit` split.

    Args:
        model: Hub id, local directory, or a loaded model (`dtype`, ... are unused then).
        config: options; `overrides` replace single ones.

    Raises:
        BiasEditError: the model cannot be loaded or edited, or the options make no sense.
    """
    from dataclasses import replace

    from hfbiasedit.models.loading import LoadedModel, load_model

    config = replace(config or LocateConfig(), **overrides)
    check_inputs(config)
    if not isinstance(model, LoadedModel):
        model = load_model(model, config)
    refuse_quantised(model.model)
    check_blocks(model, config)
    start = time.perf_counter()
    prompts = gather_prompts(model, config, "edit", LOCATE_PROMPTS)
    measure_original(model, prompts)
    found = locate_with(model, prompts, config)
    found.seconds = time.perf_counter() - start
    return found


def locate_with(
    loaded: LoadedModel, prompts: Prompts, config: LocateConfig, kept: Kept | None = None
) -> Location:
    """Locate with prompts whose original shares are known already; `kept` takes what is found."""
    start = time.perf_counter()
    items = projections(loaded.model)
    found = saliency_of(config.saliency).judge(
        Evidence(loaded, items, prompts, config, kept or Kept())
    )
    saliency = found.instead or config.saliency
    origin = {"saliency": saliency, "seed": config.seed, "model": loaded.source.id}
    ranking = Ranking(saliency, tuple(items), found.scores, origin, found.drawn)
    everywhere = found.anywhere and config.blocks == "auto"
    blocks = choose_blocks(ranking, "all" if everywhere else config.blocks)
    seconds = time.perf_counter() - start
    return Location(ranking, blocks, found.entry_scores, seconds, found.prices)


def choose_blocks(ranking: Ranking, wanted: str) -> list[int]:
    """The blocks that count, from `auto`, `all`, or numbers and ranges such as `0,3-7`.

    Raises:
        UsageError: not such a list, or beyond the model's blocks.
    """
    count = ranking.blocks
    if wanted == "all" or (wanted == "auto" and ranking.drawn):
        return list(range(count))
    if wanted == "auto":
        return middle_blocks(count)
    return numbered_blocks(wanted, count)


def middle_blocks(count: int) -> list[int]:
    """The blocks from the middle on: facts about a word are there, and its surface is not."""
    return list(range(count // 2, count))
