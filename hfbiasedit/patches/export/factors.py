"""An edit of a matrix as the product of two thin ones.

With `k` output units touched, the change D [out, in] is B A: B [out, k] holds columns of the
identity and A [k, in] the changed rows. With fewer input units than output units touched it is the
other way round: A holds rows of the identity, B the changed columns. Either is exact.
"""

from __future__ import annotations

import numpy as np

from hfbiasedit.patches.export.layers import Layer


def rank_of(layer: Layer) -> int:
    """The rank the product has: touched output or input units, whichever are fewer."""
    outputs, inputs, _ = layer.changes()
    return min(len(np.unique(outputs)), len(np.unique(inputs)))


def factors(layer: Layer, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """(A [rank, in], B [out, rank]) in float32, B A being the change of the weight.

    Args:
        layer: an edited projection.
        rank: at least `rank_of(layer)`; what is more is filled with zeros.
    """
    outputs, inputs, deltas = layer.changes()
    by_rows = len(np.unique(outputs)) <= len(np.unique(inputs))
    units, place = np.unique(outputs if by_rows else inputs, return_inverse=True)
    height, width = layer.shape
    a = np.zeros((rank, width), dtype=np.float32)
    b = np.zeros((height, rank), dtype=np.float32)
    if by_rows:
        a[place, inputs] = deltas
        b[units, np.arange(len(units))] = 1
    else:
        a[np.arange(len(units)), units] = 1
        b[outputs, place] = deltas
    return a, b
