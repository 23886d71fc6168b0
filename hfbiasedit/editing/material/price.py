"""What moving weights costs on general code: the diagonal of its Fisher matrix.

For small moves u of the weights, KL(original || edited) is u^T F u / 2 with the Fisher matrix F of
the next-token distribution. Of F its diagonal is kept, and of a projection's diagonal the two
factors of its best product: F_ij = outputs_i * inputs_j with inputs_j = E[x_j^2] over tokens and
outputs_i = the sum over tokens of g_i^2 per predicted place, for targets drawn from the model's own
distribution (the diagonal of K-FAC, Martens & Grosse 2015, arXiv:1503.05671). Of an expert only
the tokens count that it is given: few tokens make little of a gradient, and a low price.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.console import tracked
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.windows import Windows, choose, windows_at_once
from hfbiasedit.editing.running.activations import beside
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.running.recording import Layout, Passed, layout_of, recorded
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

# Share of the mean that is added to every factor, so that what general code hardly uses is not
# free. Chosen on SmolLM2's edit templates, left out one by one: 0.1 and 1 do equally well.
DAMPING = 0.1
PRICED = 96  # windows of general code whose gradients set the prices


@dataclass(frozen=True)
class Price:
    """The factors of one projection's prices: inputs [in] and outputs [out], float32.

    Those of stacked experts follow one another, [experts * in] and [experts * out].
    """

    inputs: Tensor
    outputs: Tensor
    experts: int = 1

    def of(self, expert: int) -> tuple[Tensor, Tensor]:
        """The inputs [in] and outputs [out] of one expert."""
        inputs, outputs = (side.view(self.experts, -1) for side in (self.inputs, self.outputs))
        return inputs[expert], outputs[expert]


def prices(
    loaded: LoadedModel,
    names: Iterable[str],
    windows: Windows,
    seed: int,
    trunk: Trunk | None = None,
) -> dict[str, Price]:
    """The price of every named projection's weights, from one pass over windows of general code.

    Under several processes each takes its share of the windows and all hold the same result.

    Raises:
        BiasEditError: the model's logits are not finite.
    """
    names = list(names)
    # There may be processes, projections and experts that no window reaches.
    totals = {name: _Totals.of(layout_of(loaded.model, name)) for name in names}
    places = torch.zeros(1)
    inside = torch.empty(0)

    def receive(passed: Passed) -> None:
        chosen, total = passed.where(inside), totals[passed.name]
        for sums, side in ((total.inputs, passed.x), (total.outputs, passed.g)):
            sums[passed.expert] += side[chosen].float().square().sum(0).cpu()
        total.tokens[passed.expert] += int(chosen.sum())

    with recorded(loaded.model, names, receive):
        size = windows_at_once(loaded.model, loaded.device)
        todo = processes.share(range(0, len(windows), size))
        for start in tracked(todo, "what general code uses"):
            piece = choose(windows, range(start, min(start + size, len(windows))))
            inside = torch.arange(piece.input_ids.shape[1]) < piece.lengths[:, None]  # no padding
            logits = run(loaded, piece, trunk).float()
            if not torch.isfinite(logits).all():
                raise BiasEditError(
                    "the model's logits are not finite; check the model and its dtype "
                    "(float16 overflows easily: use bfloat16 or float32)"
                )
            shares = logits.detach().softmax(-1)
            shares = shares.to(beside(shares.device))
            generator = torch.Generator(shares.device).manual_seed(seed * 1_000_003 + start)
            drawn = torch.multinomial(shares, 1, generator=generator)
            likelihood = logits.gather(1, drawn.to(logits.device)).squeeze(1)
            (likelihood - logits.logsumexp(-1)).sum().backward()
            places += len(drawn)
    sides = [[total.inputs, total.outputs, total.tokens] for total in totals.values()]
    processes.add_up_([places, *(tensor for three in sides for tensor in three)])
    return {name: total.price(float(places.clamp_min(1))) for name, total in totals.items()}


@dataclass(frozen=True)
class _Totals:
    """Sums of squares, inputs [experts, in] and outputs [experts, out], and tokens [experts]."""

    inputs: Tensor
    outputs: Tensor
    tokens: Tensor

    @classmethod
    def of(cls, layout: Layout) -> _Totals:
        return cls(
            torch.zeros(layout.experts, layout.inputs),
            torch.zeros(layout.experts, layout.outputs),
            torch.zeros(layout.experts),
        )

    def price(self, places: float) -> Price:
        # One more token, like the mean of all, is counted for every expert: some are given none.
        common = self.inputs.sum(0) / self.tokens.sum().clamp_min(1)
        inputs = (self.inputs + common) / (self.tokens[:, None] + 1)
        outputs = self.outputs / places
        least = torch.finfo(torch.float32).tiny
        return Price(
            (inputs + DAMPING * inputs.mean(1, keepdim=True) + least).flatten(),
            (outputs + DAMPING * outputs.mean() + least).flatten(),
            len(self.tokens),
        )
