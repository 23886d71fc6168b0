"""Which module of the loaded model each edited tensor belongs to, or why no adapter can edit it.

Decided by the class of the module: adapters are matrices beside `nn.Linear` and `Conv1D`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hfbiasedit.checkpoints.dtypes import to_float64
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.naming import Naming, StoredTensor
from hfbiasedit.patches.edits import TensorEdit
from hfbiasedit.patches.value import PatchValue

_INSTEAD = "use the patch itself, or edit without it"


@dataclass(frozen=True)
class Layer:
    """An edited projection.

    Attributes:
        module: its path in the loaded model.
        edit: what happens to its weight.
        transposed: the weight is stored as inputs times outputs (`Conv1D`).
    """

    module: str
    edit: TensorEdit
    transposed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(output units, input units)."""
        first, second = self.edit.shape
        return (second, first) if self.transposed else (first, second)

    def changes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(output units, input units, new minus old) of the weights that change.

        The first two are int64 [n], the differences float64 [n] and exact for 16-bit weights.
        """
        outputs, inputs, deltas = [], [], []
        for block in self.edit.blocks():
            changed = block.old != block.new
            rows, columns = np.divmod(block.flat[changed], self.edit.shape[1])
            outputs.append(columns if self.transposed else rows)
            inputs.append(rows if self.transposed else columns)
            new, old = (to_float64(b[changed], self.edit.dtype) for b in (block.new, block.old))
            deltas.append(new - old)
        return np.concatenate(outputs), np.concatenate(inputs), np.concatenate(deltas)


def layers_of(model: Any, patch: PatchValue) -> list[Layer]:
    """The edited projections, in the order of the model's modules.

    Args:
        model: a transformers model, which may be on the meta device.
        patch: the edit.

    Raises:
        BiasEditError: a tensor is not the model's, or no adapter can edit it; one line says why.
    """
    naming = Naming(model)
    found = [_layer(model, naming, patch.tensors[name]) for name in patch.tensors]
    order = {name: number for number, (name, _) in enumerate(model.named_modules())}
    return sorted(found, key=lambda layer: order[layer.module])


def _layer(model: Any, naming: Naming, edit: TensorEdit) -> Layer:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    stored = naming.to_runtime(edit.name)
    if stored is None or stored.shape != edit.shape:
        raise BiasEditError(
            f"{type(model).__name__} has no tensor {edit.name} of shape {list(edit.shape)}; "
            "name the model that the patch is for with --base"
        )
    if edit.tied or naming.tied(stored.runtime):
        raise BiasEditError(
            f"{edit.name} is tied to another tensor, and an adapter would change only one of "
            f"the two; {_INSTEAD}"
        )
    if not _is_whole(stored, naming):
        raise BiasEditError(
            f"{edit.name} is a part of {stored.runtime} in memory (experts are stacked there), "
            f"which adapters for servers do not reach; {_INSTEAD}"
        )
    path, _, parameter = stored.runtime.rpartition(".")
    module = model.get_submodule(path)
    if parameter != "weight" or not isinstance(module, nn.Linear | Conv1D):
        raise BiasEditError(
            f"{edit.name} is no weight of a projection ({type(module).__name__}), which is all "
            f"that an adapter can change; {_INSTEAD}"
        )
    return Layer(path, edit, isinstance(module, Conv1D))


def _is_whole(stored: StoredTensor, naming: Naming) -> bool:
    """Whether a stored tensor is the whole parameter, its dimensions in the same order."""
    shape = tuple(naming.parameter(stored.runtime).shape)
    return stored.shape == shape and stored.order == tuple(range(len(shape)))
