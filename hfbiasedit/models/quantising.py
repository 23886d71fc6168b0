"""Weights rounded as a quantiser rounds them, and written back: what the quantised model answers.

torchao rounds every projection matrix of the decoder blocks; its codes are turned into the model's
own dtype again at once. The model then computes with the values that a quantised one computes
with, on every device and in every way that this program has; it takes as much memory as before.
Embeddings, head, norms, biases and routers stay as they are, as quantisers leave them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfbiasedit.console import tracked
from hfbiasedit.documents.structures.shared import Quantized
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    import torch

    from hfbiasedit.models.architecture import Projection
    from hfbiasedit.models.loading import LoadedModel

_INSTALL = "torchao is not installed; pip install 'hfbiasedit[quantize]'"
_ROW = "row"  # a whole row of weights shares a scale
_AT_ONCE = 1 << 26  # weights that torchao gets at a time, which takes several copies of them


@dataclass(frozen=True)
class Method:
    """A way to round weights: symmetric, to the nearest of 2**bits steps of one scale.

    Attributes:
        bits: of a weight.
        groups: how many neighbours in a row share a scale: the first of these that divides the
            row, else all of it.
    """

    bits: int
    groups: tuple[int, ...] = ()

    def group(self, columns: int) -> int | None:
        """Weights that share a scale in rows of so many; None for a whole row."""
        return next((size for size in self.groups if columns % size == 0), None)


METHODS = {"int8": Method(8), "int4": Method(4, (128, 64, 32))}


def check_quantiser() -> None:
    """Refuse, before anything is loaded, what could not be done after it.

    Raises:
        BiasEditError: torchao is not installed.
    """
    from importlib.util import find_spec

    if find_spec("torchao") is None:
        raise BiasEditError(_INSTALL)


def quantise(loaded: LoadedModel, name: str | None) -> LoadedModel:
    """The same model, its weights rounded in place; None: as it is.

    What is to be edited or patched is edited or patched before.

    Args:
        loaded: a model in full precision. name: of `METHODS`.

    Raises:
        BiasEditError: torchao is not installed, the weights are quantised already, or some are
            not in memory.
    """
    if name is None:
        return loaded
    from hfbiasedit.models.architecture import QUANTIZED

    method = METHODS[name]
    sizes: Counter[str] = Counter()
    weights = 0
    matrices = list(_matrices(loaded))
    for projection, weight in tracked(matrices, "quantising"):
        weight.data.copy_(_rounded(projection, weight.data, method))
        sizes[str(method.group(projection.columns) or _ROW)] += 1
        weights += projection.weights
    done: Quantized = {
        "method": name,
        "by": _version(),
        "groups": dict(sizes),
        "matrices": len(matrices),
        "weights": weights,
    }
    setattr(loaded.model, QUANTIZED, done)
    loaded.quantization, loaded.quantized = name, done
    return loaded


def restored(
    loaded: LoadedModel, original: LoadedModel, change: Callable[[LoadedModel], None]
) -> LoadedModel:
    """A model as it was before `quantise`: the weights of the original, changed again.

    Args:
        loaded: the model. original: one of the same architecture, only read.
        change: what makes the one of the other, such as `patch.apply_`.
    """
    import torch

    from hfbiasedit.models.architecture import QUANTIZED

    if loaded.quantized is None:
        return loaded
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            weight.copy_(original.model.get_parameter(name))
    delattr(loaded.model, QUANTIZED)
    loaded.quantization = loaded.quantized = None
    loaded.patch_digest = original.patch_digest
    change(loaded)
    return loaded


def rounded_weights(
    loaded: LoadedModel, names: Collection[str], name: str
) -> dict[str, torch.Tensor]:
    """What parameters of a model would be after `quantise`; the model stays as it is.

    Raises:
        BiasEditError: as for `quantise`.
    """
    wanted = set(names)
    found = {
        projection.name: _rounded(projection, weight.data, METHODS[name])
        for projection, weight in _matrices(loaded)
        if projection.name in wanted
    }
    others = {other: loaded.model.get_parameter(other).data.clone() for other in wanted - {*found}}
    return found | others


def _matrices(loaded: LoadedModel) -> Iterator[tuple[Projection, torch.Tensor]]:
    """The matrices that are rounded, with their weights."""
    from hfbiasedit.models.architecture import projections

    if loaded.quantization is not None:
        raise BiasEditError(
            f"the weights of {loaded.source.id} are quantised already ({loaded.quantization}); "
            "leave --quantize out"
        )
    check_quantiser()
    for projection in projections(loaded.model):
        weight = loaded.model.get_parameter(projection.name)
        if weight.is_meta:
            raise BiasEditError(
                f"{projection.name} is offloaded and cannot be quantised; leave --device-map out"
            )
        yield projection, weight


def _rounded(projection: Projection, weight: torch.Tensor, method: Method) -> torch.Tensor:
    """A matrix, or stacked ones, as they are after quantising: same shape and dtype."""
    import torch

    rows = projection.row_view(weight)
    step = max(1, _AT_ONCE // projection.columns)
    pieces = [_through_torchao(part, method) for part in rows.split(step)]
    done = torch.cat(pieces)
    if projection.row_axis == 0:
        return done.reshape(weight.shape)
    return done.reshape(weight.transpose(-1, -2).shape).transpose(-1, -2)


def _through_torchao(rows: torch.Tensor, method: Method) -> torch.Tensor:
    """Quantise [rows, columns] as the weight of a linear layer and turn the codes back."""
    import torch
    from torchao.quantization import quantize_

    count, columns = rows.shape
    layer = torch.nn.Linear(columns, count, bias=False, device="meta")
    layer.weight = torch.nn.Parameter(rows.contiguous(), requires_grad=False)
    quantize_(layer, _config(method, columns))
    coded: Any = layer.weight
    back: torch.Tensor = coded.dequantize()
    return back.to(rows.dtype)


def _config(method: Method, columns: int) -> Any:
    """What torchao calls the method. (Its own int4 layout has no kernel for processors.)"""
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerAxis, PerGroup

    if method.bits == 8:
        return Int8WeightOnlyConfig(set_inductor_config=False)
    size = method.group(columns)
    granularity = PerAxis(0) if size is None else PerGroup(size)
    four_bits = getattr(torch, "int4")  # noqa: B009 (torch's types do not list it)
    return IntxWeightOnlyConfig(weight_dtype=four_bits, granularity=granularity)


def _version() -> str:
    from importlib.metadata import version

    return f"torchao {version('torchao')}"
