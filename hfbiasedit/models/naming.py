"""Where a runtime parameter lives in the checkpoint, and the other way round.

transformers 5 renames, splits and transposes tensors between disk and memory (the experts of
mixture models, the head of GPT-NeoX, base-model prefixes). Nothing of that is repeated here:
the library's own save conversion runs once over storage-less stand-ins of the parameters, and
the offset and strides of what comes out say which part of which parameter a stored tensor is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of the checkpoint as a box of one runtime parameter.

    The box begins at `start` and is `length` long in each runtime dimension; `order` lists the
    runtime dimensions that remain on disk, in disk order (the others have length 1 and vanish).
    """

    name: str
    runtime: str
    start: tuple[int, ...]
    length: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape on disk."""
        return tuple(self.length[dim] for dim in self.order)

    def view(self, parameter: torch.Tensor) -> torch.Tensor:
        """The stored tensor as a view of the runtime parameter (writes go through)."""
        box = parameter
        for dim, (start, length) in enumerate(zip(self.start, self.length, strict=True)):
            box = box.narrow(dim, start, length)
        dropped = [dim for dim in range(box.dim()) if dim not in self.order]
        box = box.permute(*self.order, *dropped)
        for _ in dropped:
            box = box.select(-1, 0)
        return box


class Naming:
    """The two-way map between a model's parameters and the tensors of its checkpoint.

    Args:
        model: a transformers model; no weight is read.
        stored: names in an actual checkpoint. With them a missing or additional base-model
            prefix (`transformer.h.0` against `h.0`) is recognised.
    """

    def __init__(self, model: Any, stored: Collection[str] | None = None) -> None:
        self._parameters = dict(model.named_parameters())
        self._prefix = str(getattr(model, "base_model_prefix", "") or "")
        self._stored = None if stored is None else frozenset(stored)
        aliases = _tied_names(model)
        self._aliases = {alias: name for name, names in aliases.items() for alias in names}
        tensors = _stored_tensors(model, self._parameters)
        self._by_runtime: dict[str, list[StoredTensor]] = {}
        self._by_name: dict[str, StoredTensor] = {}
        for tensor in tensors:
            tensor = self._as_stored(tensor)
            self._by_runtime.setdefault(tensor.runtime, []).append(tensor)
            self._by_name[tensor.name] = tensor
        self._tied = {
            name: tuple(self._rename(_disk_alias(model, alias)) for alias in names)
            for name, names in aliases.items()
        }

    def __iter__(self) -> Iterator[StoredTensor]:
        return iter(self._by_name.values())

    def to_disk(self, runtime: str) -> list[StoredTensor]:
        """The stored tensors that hold a runtime parameter.

        Raises:
            BiasEditError: no such parameter, or it is stored in a form that no slice of it maps to.
        """
        name = self._aliases.get(runtime, runtime)
        if name not in self._parameters:
            raise BiasEditError(f"the model has no parameter named {runtime}")
        if name not in self._by_runtime:
            raise BiasEditError(
                f"{runtime} is stored mixed with other weights, so it cannot be patched exactly; "
                "leave it out of the selection"
            )
        return self._by_runtime[name]

    def to_runtime(self, name: str) -> StoredTensor | None:
        """The stored tensor of that name; None when this model has none.

        A base-model prefix that only one of the two has is tolerated.
        """
        for candidate in self._spellings(name):
            if candidate in self._by_name:
                return self._by_name[candidate]
            for runtime, names in self._tied.items():
                if candidate in names and len(self._by_runtime.get(runtime, ())) == 1:
                    return self._by_runtime[runtime][0]
        return None

    def tied(self, runtime: str) -> tuple[str, ...]:
        """Other names under which a checkpoint may store the same parameter a second time."""
        return self._tied.get(runtime, ())

    def parameter(self, runtime: str) -> torch.Tensor:
        """The runtime parameter itself."""
        return self._parameters[self._aliases.get(runtime, runtime)]

    def _as_stored(self, tensor: StoredTensor) -> StoredTensor:
        name = self._rename(tensor.name)
        if name == tensor.name:
            return tensor
        return StoredTensor(name, tensor.runtime, tensor.start, tensor.length, tensor.order)

    def _rename(self, name: str) -> str:
        if self._stored is None:
            return name
        return next((other for other in self._spellings(name) if other in self._stored), name)

    def _spellings(self, name: str) -> tuple[str, ...]:
        if not self._prefix:
            return (name,)
        prefix = f"{self._prefix}."
        return (name, name[len(prefix) :] if name.startswith(prefix) else prefix + name)


def _tied_names(model: Any) -> dict[str, tuple[str, ...]]:
    """Parameter name -> the other names of the same parameter (runtime names)."""
    by_identity: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        by_identity.setdefault(id(parameter), []).append(name)
    first = dict(model.named_parameters())
    tied = {}
    for names in by_identity.values():
        if len(names) > 1:
            kept = next(name for name in names if name in first)
            tied[kept] = tuple(name for name in names if name != kept)
    return tied


def _disk_alias(model: Any, alias: str) -> str:
    """The stored name of one runtime name (aliases are never split)."""
    import torch

    stand_in = {alias: torch.empty(1, device="meta")}
    converted = _reverted(model, stand_in)
    return next(iter(converted), alias)


def _stored_tensors(model: Any, parameters: Mapping[str, torch.Tensor]) -> list[StoredTensor]:
    import torch

    stand_ins = {
        name: torch.empty(parameter.shape, device="meta", dtype=torch.int8)
        for name, parameter in parameters.items()
    }
    owners = {stand_in.untyped_storage()._cdata: name for name, stand_in in stand_ins.items()}
    found = []
    for name, tensor in _reverted(model, stand_ins).items():
        runtime = owners.get(tensor.untyped_storage()._cdata)
        if runtime is None:
            continue  # put together from several parameters: no slice of one of them
        box = _box(tensor, stand_ins[runtime])
        if box is not None:
            found.append(StoredTensor(name, runtime, *box))
    # A parameter that is only partly covered would be patched only partly: leave it out.
    covered: dict[str, int] = {}
    for stored in found:
        covered[stored.runtime] = covered.get(stored.runtime, 0) + math.prod(stored.length)
    return [s for s in found if covered[s.runtime] == parameters[s.runtime].numel()]


def _reverted(model: Any, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' own conversion to the names and shapes on disk, without copying."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Views(TorchDispatchMode):
        """Keeps `.contiguous()` from hiding which part of its source a tensor is."""

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func is torch.ops.aten.clone.default:
                return torch.ops.aten.alias.default(args[0])
            return func(*args, **(kwargs or {}))

    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # releases that store every parameter under its runtime name
        return dict(state)
    try:
        with Views(), torch.no_grad():
            return dict(revert_weight_conversion(model, dict(state)))
    except Exception as error:
        raise BiasEditError(
            f"cannot tell how {type(model).__name__} is stored on disk "
            f"({type(error).__name__}: {error}); its weights cannot be patched exactly"
        ) from error


def _box(
    tensor: torch.Tensor, source: torch.Tensor
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """(start, length, order) of a view, or None when it is no axis-aligned box."""
    strides = source.stride()
    rest, start = tensor.storage_offset(), []
    for dim, stride in enumerate(strides):
        position = rest // stride if source.shape[dim] > 1 else 0
        start.append(position)
        rest -= position * stride
    order: list[int] = []
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        matching = [
            dim
            for dim in range(source.dim())
            if dim not in order
            and start[dim] + size <= source.shape[dim]
            and (strides[dim] == stride if size > 1 else True)
        ]
        # A length of 1 fits several dimensions; prefer one that is 1 long in the source too.
        matching.sort(key=lambda dim: (strides[dim] != stride, source.shape[dim] != size))
        if not matching:
            return None
        order.append(matching[0])
    length = [1] * source.dim()
    for dim, size in zip(order, tensor.shape, strict=True):
        length[dim] = size
    return (tuple(start), tuple(length), tuple(order)) if rest == 0 else None
