"""Locate: which blocks, matrices, rows and weights carry the bias."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.editing.config import LocateConfig, LocateOverrides
from hfbiasedit.editing.locating.joint import joint_entries, joint_solutions, joint_sums
from hfbiasedit.editing.locating.ranking import Ranking, contrast, mean_saliency
from hfbiasedit.editing.locating.saliency import MEASURES, Sums, collect
from hfbiasedit.editing.material.forward import code_losses, run
from hfbiasedit.editing.material.objective import bias_loss
from hfbiasedit.editing.material.price import Price, prices
from hfbiasedit.editing.material.prompts import (
    Prompts,
    bias_probes,
    gather_prompts,
    measure_original,
)
from hfbiasedit.editing.material.windows import prepare_windows
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.errors import UsageError
from hfbiasedit.models.architecture import Projection, projections, refuse_quantised
from hfbiasedit.texts.anchor import load_anchor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfbiasedit.models.loading import LoadedModel

LOCATE_PROMPTS = 512
CODE_WINDOWS = 32
PRICED = 96  # windows of general code whose gradients set the prices


@dataclass
class Location:
    """What `locate` found: the ranking, the blocks to edit, how single weights are judged."""

    ranking: Ranking
    blocks: list[int]
    entry_scores: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    seconds: float
    prices: Mapping[str, Price] | None = None

    def save(self, folder: Path) -> list[Path]:
        """Write `ranking.parquet` and the layer x module heat map; returns the paths."""
        from hfbiasedit.figures import localisation as figure
        from hfbiasedit.figures import style

        folder = Path(folder)
        path = folder / "ranking.parquet"
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
    if not isinstance(model, LoadedModel):
        model = load_model(model, config)
    refuse_quantised(model.model)
    start = time.perf_counter()
    prompts = gather_prompts(model, config, "edit", LOCATE_PROMPTS)
    measure_original(model, prompts)
    found = locate_with(model, prompts, config)
    found.seconds = time.perf_counter() - start
    return found


def locate_with(loaded: LoadedModel, prompts: Prompts, config: LocateConfig) -> Location:
    """Locate with prompts whose original shares are known already."""
    start = time.perf_counter()
    items = projections(loaded.model)
    origin = {"saliency": config.saliency, "seed": config.seed, "model": loaded.source.id}
    if config.saliency == "random":
        ranking = random_ranking(items, config.seed, origin)
        blocks = choose_blocks(ranking, config.blocks)
        return Location(ranking, blocks, _no_entries, time.perf_counter() - start)
    if config.saliency == "joint":
        return _jointly(loaded, items, prompts, config, origin, start)
    groups = bias_probes(prompts, config.probe_prompts, config.seed)
    bias = [_bias_loss(loaded, prompts, group) for group in groups]
    code: list[Callable[[], Tensor]] = []
    if config.saliency == "contrastive":
        anchor = load_anchor(config.anchor)
        code = code_losses(loaded, prepare_windows(loaded, anchor, CODE_WINDOWS, config.seed))
    measure = MEASURES[config.saliency]
    with progress("locating", len(bias) + len(code)) as bar:
        options: dict[str, Any] = {"checkpoint": config.checkpoint, "advance": bar.advance}
        scores = collect(loaded.model, items, bias, measure, **options)
        mean_saliency(scores, items)  # refuses gradients that are zero or not finite
        damping = 0.0
        if code:
            general = collect(loaded.model, items, code, measure, **options)
            damping = mean_saliency(general, items)
            scores = contrast(scores, general, items)
    ranking = Ranking(config.saliency, tuple(items), scores, origin)

    def entry_scores(pool: dict[str, Tensor]) -> dict[str, Tensor]:
        return _entry_scores(loaded, items, pool, bias, code, config.saliency, damping)

    blocks = choose_blocks(ranking, config.blocks)
    return Location(ranking, blocks, entry_scores, time.perf_counter() - start)


def _jointly(
    loaded: LoadedModel,
    items: list[Projection],
    prompts: Prompts,
    config: LocateConfig,
    origin: dict[str, Any],
    start: float,
) -> Location:
    windows = prepare_windows(loaded, load_anchor(config.anchor), PRICED, config.seed)
    known = prices(loaded, [item.name for item in items], windows, config.seed)
    options: dict[str, Any] = {"checkpoint": config.checkpoint}
    joint = joint_solutions(loaded, items, prompts, known, config.seed, **options)
    scores = joint_sums(loaded, items, joint, config.seed, config.checkpoint)
    mean_saliency(scores, items)  # refuses gradients that are zero or not finite
    ranking = Ranking("joint", tuple(items), scores, origin)

    def entry_scores(pool: dict[str, Tensor]) -> dict[str, Tensor]:
        return joint_entries(loaded, items, pool, joint, config.checkpoint)

    wanted = "all" if config.blocks == "auto" else config.blocks
    blocks = choose_blocks(ranking, wanted)
    return Location(ranking, blocks, entry_scores, time.perf_counter() - start, known)


def choose_blocks(ranking: Ranking, wanted: str) -> list[int]:
    """The blocks that count, from `auto`, `all`, or numbers and ranges such as `0,3-7`.

    Raises:
        UsageError: not such a list, or beyond the model's blocks.
    """
    count = ranking.blocks
    if wanted == "all" or (wanted == "auto" and ranking.saliency == "random"):
        return list(range(count))
    if wanted == "auto":
        return middle_blocks(count)
    chosen: set[int] = set()
    try:
        for piece in wanted.split(","):
            first, _, last = piece.partition("-")
            chosen.update(range(int(first), int(last or first) + 1))
    except ValueError:
        raise UsageError(f"blocks {wanted!r} is not auto, all, or a list such as 0,3-7") from None
    if not chosen or max(chosen) >= count or min(chosen) < 0:
        raise UsageError(f"blocks {wanted!r} are not all among the model's blocks 0-{count - 1}")
    return sorted(chosen)


def middle_blocks(count: int) -> list[int]:
    """The blocks from the middle on: facts about a word are there, and its surface is not."""
    return list(range(count // 2, count))


def random_ranking(items: list[Projection], seed: int, origin: dict[str, Any]) -> Ranking:
    """Scores drawn by seed, equally likely for every weight's share of them: the baseline."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, weights: int) -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64) * weights

    scores = {}
    for item in items:
        inner = item.rows // item.experts
        columns = item.experts * item.columns
        scores[item.name] = Sums(
            draw(item.rows, item.columns), draw(item.rows, 1), draw(columns, inner)
        )
    return Ranking("random", tuple(items), scores, origin)


def _bias_loss(loaded: LoadedModel, prompts: Prompts, group: list[int]) -> Callable[[], Tensor]:
    # The mass term's gradient is zero at the original model, so its weight does not matter here.
    def loss() -> Tensor:
        batch = prompts.batch(group)
        return bias_loss(batch, run(loaded, batch), 0.0)

    return loss


def _no_entries(pool: dict[str, Tensor]) -> dict[str, Tensor]:
    raise UsageError("weights drawn at random have no scores")


def _entry_scores(
    loaded: LoadedModel,
    items: list[Projection],
    pool: dict[str, Tensor],
    bias: list[Callable[[], Tensor]],
    code: list[Callable[[], Tensor]],
    saliency: str,
    damping: float,
) -> dict[str, Tensor]:
    """Saliency of every weight of the rows in `pool`, [rows, columns], from the same probes."""
    by_name = {item.name: item for item in items}
    slices = {name: rows_in(by_name[name], rows) for name, rows in pool.items()}
    selection = Selection("row", slices, fingerprint(loaded.model))
    measure = MEASURES[saliency]
    shapes = {name: (len(rows), by_name[name].columns) for name, rows in pool.items()}
    with Deltas(loaded.model, selection) as deltas, deltas.attached():

        def total(losses: list[Callable[[], Tensor]]) -> dict[str, Tensor]:
            sums = {name: torch.zeros(shape) for name, shape in shapes.items()}
            for loss in losses:
                loss().backward()
                for name, delta in deltas.values.items():
                    if delta.grad is not None:
                        base = deltas.base[name].to(delta.grad.dtype)
                        sums[name] += measure(base, delta.grad).cpu()
                        delta.grad = None
            return {name: value / max(1, len(losses)) for name, value in sums.items()}

        scores = total(bias)
        if not code:
            return scores
        general = total(code)
    return {name: scores[name] / (general[name] + damping) for name in scores}
