"""A saliency of one's own: weights without which there would be less bias.

Setting a weight w to zero changes the loss by about -g * w, so that g * w says how much of the bias
goes with it; where it is negative the weight works against the bias, and counts as nothing.
"""

from torch import Tensor

from hfbiasedit.editing.locating.measured import Measured


def removable(weight: Tensor, gradient: Tensor) -> Tensor:
    """max(0, g * w)."""
    return (gradient * weight).clamp_min(0)


SALIENCY = Measured(removable)
