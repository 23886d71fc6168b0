"""Patches on a model in memory: check every edited slice, then write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfbiasedit.checkpoints.dtypes import name_of, torch_dtype
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import PATCHED, QUANTIZED
from hfbiasedit.models.indexing import gather, scatter
from hfbiasedit.models.naming import Naming, StoredTensor
from hfbiasedit.patches.building import unwrapped
from hfbiasedit.patches.combination import reversed_patch
from hfbiasedit.patches.edits import TensorEdit
from hfbiasedit.patches.targets import mismatch
from hfbiasedit.patches.value import PatchValue

if TYPE_CHECKING:
    import torch


def write_values(model: Any, patch: PatchValue, *, reverse: bool = False) -> None:
    """Write the patch's new values (`reverse`: old ones) into a model, in place, and mark it.

    A model loaded in a wider dtype than the patch's takes the same values exactly.

    Raises:
        BiasEditError: tensors are missing, of another shape or dtype, or hold other values than
            the patch expects. Nothing was changed then.
    """
    import torch

    model, _ = unwrapped(model)
    if getattr(model, QUANTIZED, None) is not None:
        raise BiasEditError(
            "the model was quantised after loading and has none of the patch's values; apply the "
            "patch first, then quantise"
        )
    naming = Naming(model)
    with torch.no_grad():
        targets = {name: _targets(naming, patch.tensors[name]) for name in patch.tensors}
        wrong = []
        for name, views in targets.items():
            edit = patch.tensors[name]
            expected = edit.new if reverse else edit.old
            wrong += [name for view in views if not _holds(view, edit, expected)]
            patch.release()
        if wrong:
            raise mismatch(wrong, reverse)
        marks = _marks(model, patch, reverse)
        written: list[str] = []
        try:
            for name in targets:
                written.append(name)
                _write(targets[name], patch.tensors[name], new=not reverse)
        except BaseException:
            for name in written:
                _write(targets[name], patch.tensors[name], new=reverse)
            raise
        finally:
            patch.release()
        setattr(model, PATCHED, marks)


def _marks(model: Any, patch: PatchValue, reverse: bool) -> tuple[str, ...]:
    """Digests of what stands between a model's files and its weights, once this is written."""
    marks = list(getattr(model, PATCHED, ()))
    # Taking back what was not applied here (but to the files, say) is a change as well. The digest
    # of that is one more pass over the values, which the usual order of things does not need.
    if reverse and patch.digest in marks:
        marks.remove(patch.digest)
    elif reverse:
        marks.append(reversed_patch(patch).digest)
    elif marks and (back := reversed_patch(patch).digest) in marks:
        marks.remove(back)
    else:
        marks.append(patch.digest)
    return tuple(marks)


def edited_parameters(model: Any, patch: PatchValue) -> list[str]:
    """Runtime names of the parameters of a model that a patch changes.

    Raises:
        BiasEditError: the model lacks one.
    """
    naming = Naming(unwrapped(model)[0])
    found = [place for name in patch.tensors for place in _places(naming, patch.tensors[name])]
    return list(dict.fromkeys(place.runtime for place in found))


def _targets(naming: Naming, edit: TensorEdit) -> list[torch.Tensor]:
    """Views of the parameters that hold a stored tensor, tied copies included."""
    views = []
    for stored in _places(naming, edit):
        view = stored.view(naming.parameter(stored.runtime).data)
        if view.is_meta:
            raise BiasEditError(f"{stored.runtime} is offloaded; load the model without offloading")
        if tuple(view.shape) != edit.shape:
            raise BiasEditError(
                f"{edit.name} has shape {tuple(view.shape)} here and {edit.shape} in the patch"
            )
        wanted = torch_dtype(edit.dtype)
        if name_of(view.dtype) is None or _promoted(view.dtype, wanted) != view.dtype:
            raise BiasEditError(
                f"{edit.name} is {view.dtype} here and {wanted} in the patch; "
                "load the model in its checkpoint's dtype"
            )
        views.append(view)
    return views


def _places(naming: Naming, edit: TensorEdit) -> list[StoredTensor]:
    """Where a model has a stored tensor, tied copies included."""
    places: dict[str, StoredTensor] = {}
    for name in (edit.name, *edit.tied):
        stored = naming.to_runtime(name)
        if stored is not None:
            places[stored.name] = stored
    if not places:
        raise BiasEditError(f"the model has no tensor {edit.name}; the patch is for another model")
    return list(places.values())


def _promoted(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    import torch

    return torch.promote_types(one, other)


def _holds(view: torch.Tensor, edit: TensorEdit, expected: torch.Tensor) -> bool:
    found = gather(view, *edit.place)
    return same_bits(found, expected.to(device=view.device, dtype=view.dtype))


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Bit equality of two float tensors of one dtype and device (0.0 and -0.0 differ)."""
    import torch

    width = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return torch.equal(one.contiguous().view(width), other.contiguous().view(width))


def _write(views: list[torch.Tensor], edit: TensorEdit, *, new: bool) -> None:
    values = edit.new if new else edit.old
    for view in views:
        scatter(view, values, *edit.place)
