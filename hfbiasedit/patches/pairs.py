"""The patch between two models in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfbiasedit.checkpoints.dtypes import same_bits
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.building import Change, edits_from_changes, unwrapped
from hfbiasedit.patches.edits import TensorEdit

if TYPE_CHECKING:
    import torch


def edits_from_models(base: Any, edited: Any) -> dict[str, TensorEdit]:
    """The differences between two models; see `Patch.from_models`."""
    base, _ = unwrapped(base)
    edited, _ = unwrapped(edited)
    before, after = _stored(base), _stored(edited)
    if before.keys() != after.keys():
        name = sorted(before.keys() ^ after.keys())[0]
        raise BiasEditError(f"the models differ in their parameters ({name}); no patch can do that")
    for name, parameter in before.items():
        other = after[name]
        if parameter.shape != other.shape or parameter.dtype != other.dtype:
            raise BiasEditError(f"{name} differs in shape or dtype between the two models")
    changes = {
        name: Change("whole", None, after[name].data)
        for name, parameter in before.items()
        if not same_bits(parameter.data, after[name].data)
    }
    if not changes:
        raise BiasEditError("the two models are equal, bit for bit: there is nothing to patch")
    buffers = changes.keys() - dict(base.named_parameters()).keys()
    if buffers:
        raise BiasEditError(
            f"{min(buffers)} is a buffer and differs, and patches of models are of parameters; "
            "save both models and use Patch.from_checkpoints"
        )
    return edits_from_changes(base, changes, None)


def _stored(model: Any) -> dict[str, torch.Tensor]:
    """The parameters of a model, and the buffers that a checkpoint of it holds."""
    kept = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return {**dict(model.named_parameters()), **buffers}
