"""What moving weights costs on general code: the diagonal of its Fisher matrix.

For small moves u of the weights, KL(original || edited) is u^T F u / 2 with the Fisher matrix F of
the next-token distribution. Of F its diagonal is kept, and of a projection's diagonal the two
factors of its best product: F_ij = outputs_i * inputs_j with inputs_j = E[x_j^2] over tokens and
outputs_i = the sum over tokens of g_i^2 per predicted place, for targets drawn from the model's own
distribution (the diagonal of K-FAC, Martens & Grosse 2015, arXiv:1503.05671).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit.console import tracked
from hfbiasedit.editing import processes
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.windows import Windows, choose
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.running.recording import recorded, widths_of
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import submodule_weight

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

# Share of the mean that is added to every factor, so that what general code hardly uses is not
# free. Chosen on SmolLM2's edit templates, left out one by one: 0.1 and 1 do equally well.
DAMPING = 0.1
PRICED = 96  # windows of general code whose gradients set the prices
_PIECE = 8  # windows of one pass


@dataclass(frozen=True)
class Price:
    """The factors of one projection's prices: inputs [in] and outputs [out], float32."""

    inputs: Tensor
    outputs: Tensor


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
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    for name in names:  # there may be processes, or projections, that no window reaches
        module, _ = submodule_weight(loaded.model, name)
        outputs[name], inputs[name] = (torch.zeros(n) for n in widths_of(module))
    counts = torch.zeros(2, dtype=torch.float64)
    inside = torch.empty(0)

    def receive(name: str, x: Tensor, g: Tensor) -> None:
        for sums, side in ((inputs, x), (outputs, g)):
            sums[name] += side[inside].float().square().sum(0).cpu()

    with recorded(loaded.model, names, receive):
        todo = processes.share(range(0, len(windows), _PIECE))
        for start in tracked(todo, "what general code uses"):
            piece = choose(windows, range(start, min(start + _PIECE, len(windows))))
            inside = torch.arange(piece.input_ids.shape[1]) < piece.lengths[:, None]  # no padding
            logits = run(loaded, piece, trunk).float()
            if not torch.isfinite(logits).all():
                raise BiasEditError(
                    "the model's logits are not finite; check the model and its dtype "
                    "(float16 overflows easily: use bfloat16 or float32)"
                )
            generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
            drawn = torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=generator)
            likelihood = logits.gather(1, drawn.to(logits.device)).squeeze(1)
            (likelihood - logits.logsumexp(-1)).sum().backward()
            counts += torch.tensor([float(piece.lengths.sum()), float(len(drawn))])
    processes.add_up_([counts, *(inputs[n] for n in names), *(outputs[n] for n in names)])
    tokens, places = counts.clamp_min(1).tolist()
    return {
        name: Price(_damped(inputs[name] / tokens), _damped(outputs[name] / places))
        for name in names
    }


def _damped(factor: Tensor) -> Tensor:
    return factor + DAMPING * factor.mean() + torch.finfo(torch.float32).tiny
