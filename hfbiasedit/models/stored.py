"""The dtypes in which a model's weights are stored, and whether memory holds them exactly."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from hfbiasedit.checkpoints.conversion import bin_dtypes
from hfbiasedit.checkpoints.dtypes import FLOATS, torch_dtype
from hfbiasedit.checkpoints.storage import INDEX, SINGLE, Checkpoint, has_only_bin
from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.models.naming import Naming

if TYPE_CHECKING:
    import torch

    from hfbiasedit.models.loading import LoadedModel


def stored_dtypes(
    loaded: LoadedModel, names: Collection[str]
) -> dict[str, tuple[torch.dtype, ...]]:
    """The dtypes on disk of parameters, of each once for every tensor that holds a part of it.

    Parameters that are not found on disk are left out; all, where there is no checkpoint to ask.

    Raises:
        BiasEditError: the weights cannot be read, or a parameter is stored mixed with others.
    """
    folder = loaded.source.path
    if has_only_bin(folder):
        dtypes = bin_dtypes(folder)
    elif any((folder / name).exists() for name in (INDEX, SINGLE)):
        opened = Checkpoint.open(folder)
        dtypes = {name: place.info.dtype for name, place in opened.tensors.items()}
    else:
        return {}
    naming = Naming(loaded.model, frozenset(dtypes))
    found = {}
    for name in names:
        spelled = [(stored.name, *naming.tied(stored.runtime)) for stored in naming.to_disk(name)]
        present = [next((n for n in some if n in dtypes), None) for some in spelled]
        kinds = [dtypes[stored] for stored in present if stored is not None]
        if kinds and all(kind in FLOATS for kind in kinds):
            found[name] = tuple(map(torch_dtype, kinds))
    return found


def check_exact(loaded: LoadedModel, names: Collection[str]) -> None:
    """Refuse weights that memory does not hold as they are stored: loading has rounded them.

    Raises:
        BiasEditError: a parameter is stored in a dtype that its own in memory cannot represent.
    """
    import torch

    wrong = []
    for name, dtypes in stored_dtypes(loaded, names).items():
        held = loaded.model.get_parameter(name).dtype
        wrong += [(name, kind, held) for kind in dtypes if torch.promote_types(kind, held) != held]
    if wrong:
        _, kind, held = wrong[0]
        shown = listed(list(dict.fromkeys(name for name, _, _ in wrong)), 2)
        raise BiasEditError(
            f"{shown}: {_is(kind)} in the checkpoint and {_is(held)} as loaded, so that an edit "
            f"could not be stored exactly; load the model with --dtype {_wide(wrong)}"
        )


def _is(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _wide(wrong: list[tuple[str, torch.dtype, torch.dtype]]) -> str:
    """A dtype that holds all of them."""
    import torch

    return "float64" if any(kind == torch.float64 for _, kind, _ in wrong) else "float32"
