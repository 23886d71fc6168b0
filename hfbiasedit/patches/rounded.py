"""A patch between two quantised models: the original rounded, and the edited one rounded.

Rounding looks at one matrix at a time, so that the two differ in the edited parameters alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfbiasedit.models.quantising import quantise, rounded_weights
from hfbiasedit.patches.memory import edited_parameters
from hfbiasedit.patches.patch import Patch

if TYPE_CHECKING:
    import torch

    from hfbiasedit.models.loading import LoadedModel


class RoundedPatch(Patch):
    """The same patch, digest included, for a model that was quantised with it (`quantise_both`)."""

    def __init__(self, patch: Patch, values: Mapping[str, torch.Tensor]) -> None:
        """Take what the edited parameters are, with the patch and rounded, by runtime name."""
        super().__init__(patch.tensors, patch.metadata, patch.warnings)
        self._rounded = values

    @contextlib.contextmanager
    def applied(self, model: Any) -> Iterator[Any]:
        """Inside the block the model is the edited one, quantised."""
        parameters = {name: model.model.get_parameter(name).data for name in self._rounded}
        before = {name: weights.clone() for name, weights in parameters.items()}
        digest, model.patch_digest = model.patch_digest, self.digest
        for name, weights in parameters.items():
            weights.copy_(self._rounded[name])
        try:
            yield model
        finally:
            model.patch_digest = digest
            for name, weights in parameters.items():
                weights.copy_(before[name])


def quantise_both(loaded: LoadedModel, patch: Patch | None, name: str | None) -> Patch | None:
    """Quantise a model in place, and make its patch one between quantised models.

    Args:
        loaded: the original. patch: of it. name: of a method; None leaves both as they are.

    Raises:
        BiasEditError: the patch does not fit the model, or as for `quantise`.
    """
    if patch is None or name is None:
        quantise(loaded, name)
        return patch
    with patch.applied(loaded):
        after = rounded_weights(loaded, edited_parameters(loaded, patch), name)
    quantise(loaded, name)
    return RoundedPatch(patch, after)
