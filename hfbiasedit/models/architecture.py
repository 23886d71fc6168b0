"""What a decoder is made of: its blocks, their projection matrices, rows, parts and hidden units.

Everything is decided by module class, never by shape: a `Conv1D` stores its weight transposed,
mixture experts are bare three-dimensional parameters, and fused tensors hold several projections
in a layout that only the class knows. That knowledge is the table in `models/fusion.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.fusion import Part, fused_parts

# What a model is marked with whose weights were rounded in memory (`models.quantising`).
QUANTIZED = "hfbiasedit_quantized"
# What a model is marked with that has patches applied in memory: their digests, as applied.
PATCHED = "hfbiasedit_patched"
ATTENTION, MLP, EXPERT = "attention", "mlp", "expert"
_ATTENTION_CLASSES = ("attention", "attn", "deltanet", "mamba", "mixer", "shortconv")


@dataclass(frozen=True)
class Projection:
    """One projection matrix of a decoder block, or the stacked matrices of its experts.

    `row_axis` is the axis of output units among the last two axes of `shape` (0 for Linear, 1 for
    Conv1D and transposed experts). `rows` counts the output units of all experts together: row
    `e * (rows // experts) + r` is output unit `r` of expert `e`. `columns` counts input units.
    """

    name: str
    block: int
    module_path: str
    kind: str
    role: str
    row_axis: int
    shape: tuple[int, ...]
    parts: tuple[Part, ...] = ()

    @property
    def experts(self) -> int:
        """How many matrices are stacked in the tensor."""
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def rows(self) -> int:
        """Output units, over all experts."""
        return self.experts * self.shape[-2 + self.row_axis]

    @property
    def columns(self) -> int:
        """Input units: the number of weights of one row."""
        return self.shape[-1 - self.row_axis]

    @property
    def weights(self) -> int:
        """How many scalars the tensor holds."""
        return self.rows * self.columns

    def row_view(self, tensor: Tensor) -> Tensor:
        """A `[rows, columns]` arrangement of a tensor of this shape (a view where possible)."""
        if self.row_axis == 1:
            tensor = tensor.transpose(-1, -2)
        return tensor.reshape(self.rows, self.columns)

    def flat_indices(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Positions in the flattened stored tensor of weights given by (row, column) pairs."""
        inner = self.rows // self.experts
        expert, row = rows // inner, rows % inner
        within = row * self.columns + columns if self.row_axis == 0 else columns * inner + row
        return expert * (inner * self.columns) + within

    def part_of(self, row: int) -> str:
        """Name of the part (`q`, `gate`, ...) that a row belongs to; the role when not fused."""
        row = row % (self.rows // self.experts)
        return next((part.name for part in self.parts if row in part), self.role)


@dataclass(frozen=True)
class UnitGroup:
    """The hidden units of one MLP: unit `i` owns row `i` of each `up` part, column `i` of `down`.

    `up` holds (projection, part or None) pairs; every part has `count` rows per expert.
    """

    block: int
    up: tuple[tuple[Projection, Part | None], ...]
    down: Projection

    @property
    def count(self) -> int:
        """Hidden units, over all experts."""
        return self.down.experts * self.down.columns


def parameter_count(module: nn.Module) -> int:
    """Number of weights, tied ones counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def decoder_blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The decoder blocks in order, with their module paths.

    They are the entries of the `ModuleList` that holds most parameters (the outermost on a tie),
    of the text decoder alone: the tower for images or sound beside it may be the larger one.

    Raises:
        BiasEditError: the model is an encoder-decoder or has no such list.
    """
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise BiasEditError(
            "the model is an encoder-decoder; only decoder-only models are supported"
        )
    best, best_size, best_name = None, 0, ""
    inside = decoder_modules(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and module in inside:
            size = parameter_count(module)
            if size > best_size:
                best, best_size, best_name = module, size, name
    if best is None:
        raise BiasEditError(
            f"no list of decoder blocks found in {type(model).__name__}; "
            "only decoder-only transformers are supported"
        )
    return [(f"{best_name}.{index}", block) for index, block in enumerate(best)]


def decoder_modules(model: nn.Module) -> set[nn.Module]:
    """The modules of the text decoder; all, where a model does not say what that is."""
    find = getattr(model, "get_decoder", None)
    decoder = find() if callable(find) else None
    inside = set((decoder if isinstance(decoder, nn.Module) else model).modules())
    listed = any(isinstance(module, nn.ModuleList) for module in inside)
    return inside if listed else set(model.modules())


def projections(model: nn.Module) -> list[Projection]:
    """All projection matrices inside the decoder blocks, in the order of the model's modules.

    These are the weights of `Linear` and `Conv1D` modules and the stacked matrices of experts;
    routers (choices, not projections), norms, biases, embeddings and the head are not among them.

    Raises:
        BiasEditError: the model is quantised, so that its weights cannot be edited as they are.
    """
    refuse_quantised(model)
    found: list[Projection] = []
    seen: set[int] = set()
    for index, (path, block) in enumerate(decoder_blocks(model)):
        for ancestors, name, module in _walk(block, path, ()):
            for projection, weight in _projections_of(index, ancestors, name, module):
                if id(weight) not in seen:  # a matrix that blocks share belongs to the first
                    seen.add(id(weight))
                    found.append(projection)
    return found


def hidden_units(items: list[Projection]) -> list[UnitGroup]:
    """The MLPs among `items` as groups of hidden units; what is no up-down pair is left out.

    In every MLP (the projections of one module, or of one block for those that lie in it directly)
    the last projection leads down; the others, or their fused parts, lead up.
    """
    groups: dict[tuple[int, str], list[Projection]] = {}
    for item in items:
        if item.kind != ATTENTION:
            parent = (
                item.module_path if item.kind == EXPERT else item.module_path.rpartition(".")[0]
            )
            groups.setdefault((item.block, parent), []).append(item)
    found = []
    for (block, _), members in groups.items():
        *ups, down = members
        pairs: list[tuple[Projection, Part | None]] = []
        for up in ups:
            pairs += [(up, part) for part in up.parts] or [(up, None)]
        counts = {len(part) if part else up.rows // up.experts for up, part in pairs}
        if counts == {down.columns} and all(up.experts == down.experts for up in ups):
            found.append(UnitGroup(block, tuple(pairs), down))
    return found


def refuse_quantised(model: nn.Module) -> None:
    """Raise `BiasEditError` when the model's weights are stored quantised."""
    marks = ("is_quantized", "hf_quantizer", QUANTIZED)
    if any(getattr(model, mark, None) for mark in marks):
        raise BiasEditError(
            "the model is quantised and its weights cannot be edited; "
            "edit the 16-bit original and quantise afterwards"
        )
    for name, parameter in model.named_parameters():
        if not parameter.dtype.is_floating_point or parameter.element_size() < 2:
            dtype = str(parameter.dtype).removeprefix("torch.")
            raise BiasEditError(
                f"{name} is stored as {dtype}; quantised weights "
                "cannot be edited: edit the 16-bit original and quantise afterwards"
            )


def submodule_weight(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that owns a parameter, and the attribute it is stored under."""
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute


def _walk(
    module: nn.Module, path: str, ancestors: tuple[nn.Module, ...]
) -> Iterator[tuple[tuple[nn.Module, ...], str, nn.Module]]:
    """Modules in registration order, with the modules between the block and them."""
    yield ancestors, path, module
    for name, child in module.named_children():
        yield from _walk(child, f"{path}.{name}", (*ancestors, module))


def _projections_of(
    block: int, ancestors: tuple[nn.Module, ...], path: str, module: nn.Module
) -> list[tuple[Projection, Tensor]]:
    owner = ancestors[-1] if ancestors else module
    role = path.rpartition(".")[2]
    if isinstance(module, (nn.Linear, Conv1D)):
        axis = 1 if isinstance(module, Conv1D) else 0
        shape = tuple(module.weight.shape)
        parts = fused_parts(owner, role, shape[axis])
        kind = _kind((*ancestors, module))
        return [
            (
                Projection(f"{path}.weight", block, path, kind, role, axis, shape, parts),
                module.weight,
            )
        ]
    found: list[tuple[Projection, Tensor]] = []
    for name, weight in module.named_parameters(recurse=False):
        if weight.dim() == 3 and _is_experts(module, weight):
            axis = 1 if getattr(module, "is_transposed", False) else 0
            shape = tuple(weight.shape)
            parts = fused_parts(module, name, shape[1 + axis])
            item = Projection(f"{path}.{name}", block, path, EXPERT, name, axis, shape, parts)
            found.append((item, weight))
    return found


def _is_experts(module: nn.Module, weight: nn.Parameter) -> bool:
    """Stacked expert matrices; the kernels of convolutions have three axes as well."""
    convolution = isinstance(module, (nn.Conv1d, nn.ConvTranspose1d))
    return not convolution and min(weight.shape[1:]) > 1


def _kind(modules: tuple[Any, ...]) -> str:
    # The block itself (first) may be called e.g. "ParallelAttentionBlock": it does not count.
    names = [type(module).__name__.lower() for module in modules[1:-1]]
    return ATTENTION if any(key in name for name in names for key in _ATTENTION_CLASSES) else MLP
