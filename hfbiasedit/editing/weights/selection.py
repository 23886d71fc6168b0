"""Which weights an edit may change: a value that can be saved, loaded, counted and intersected."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hfbiasedit.documents.schemas import read_document
from hfbiasedit.documents.structures.edit_document import Weights
from hfbiasedit.documents.structures.selection_document import (
    Kind,
    SelectionDocument,
    SliceDocument,
)
from hfbiasedit.editing.weights.slices import ROWS, WHOLE, Slice, row_slice
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json, write_json
from hfbiasedit.models.architecture import Projection, decoder_blocks, parameter_count, projections


@dataclass(frozen=True)
class Selection:
    """Slices of a model's tensors, by runtime parameter name.

    `items` of `of` things of the level `granularity` were chosen (rows, matrices, ...). `model` is
    a fingerprint of the names and shapes of all parameters, so that a selection is only used on
    models of the same build.
    """

    granularity: str
    slices: Mapping[str, Slice]
    model: str
    items: int = 0
    of: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> int:
        """How many scalars are selected."""
        return sum(part.count for part in self.slices.values())

    @property
    def rows(self) -> int:
        """How many whole rows or columns are selected (0 for scattered entries)."""
        return sum(
            len(part.index)
            for part in self.slices.values()
            if part.kind == ROWS and part.index is not None
        )

    def intersect(self, other: Selection) -> Selection:
        """The weights that both select.

        Raises:
            BiasEditError: the two are of different models.
        """
        if self.model != other.model:
            raise BiasEditError("the selections are of different models and cannot be intersected")
        common = {}
        for name in self.slices.keys() & other.slices.keys():
            part = self.slices[name].intersect(other.slices[name])
            if part is not None:
                common[name] = part
        ordered = {name: common[name] for name in self.slices if name in common}
        return Selection(self.granularity, ordered, self.model)

    def blocks(self, model: nn.Module) -> list[int]:
        """The blocks with selected weights, in order."""
        numbers = block_numbers(model)
        return sorted({numbers[name] for name in self.slices if name in numbers})

    def lowest_block(self, model: nn.Module) -> int:
        """The first block with selected weights (the number of blocks when only the head has some).

        -1 when something outside the blocks and the head is selected, such as embeddings.
        """
        blocks = block_numbers(model)
        head = {id(p) for p in _parameters(model.get_output_embeddings())}  # type: ignore[operator]
        embedding = {id(p) for p in _parameters(model.get_input_embeddings())}  # type: ignore[operator]
        lowest = len(decoder_blocks(model))
        parameters = dict(model.named_parameters())
        for name in self.slices:
            inside = blocks.get(name)
            if inside is None and (
                id(parameters[name]) not in head or id(parameters[name]) in embedding
            ):
                return -1
            lowest = min(lowest, lowest if inside is None else inside)
        return lowest

    def summary(self, model: nn.Module, changed: Mapping[str, np.ndarray] | None = None) -> Weights:
        """Counts for people and `edit.json`: weights, share, rows, per layer and per module.

        Args:
            model: the model that the selection is of.
            changed: for each slice, which of its weights count: bool in the shape of its values.
                All do by default.
        """
        counts = {name: part.count for name, part in self.slices.items()}
        touched = self.rows
        if changed is not None:
            counts = {name: n for name in counts if (n := int(changed[name].sum()))}
            touched = sum(
                int(changed[name].reshape(len(changed[name]), -1).any(axis=1).sum())
                for name in counts
                if self.slices[name].kind == ROWS
            )
        matrices = {item.name: item for item in projections(model)}
        blocks = block_numbers(model)
        total = parameter_count(model)
        inside = sum(item.weights for item in matrices.values())
        by_layer: dict[int | str, int] = {}
        by_module: dict[str, int] = {}
        for name, number in counts.items():
            layer = blocks.get(name, "outside the blocks")
            role = matrices[name].role if name in matrices else _role(name)
            by_layer[layer] = by_layer.get(layer, 0) + number
            by_module[role] = by_module.get(role, 0) + number
        every = sum(counts.values())
        weights = max(1, every)
        layers = sorted(by_layer.items(), key=lambda pair: (isinstance(pair[0], str), pair[0]))
        return {
            "weights": every,
            "share": every / total,
            "share_of_projections": every / max(1, inside),
            "rows": touched,
            "tensors": len(counts),
            "by_layer": [
                {"layer": layer, "weights": count, "share": count / weights}
                for layer, count in layers
            ],
            "by_module": [
                {"module": role, "weights": count, "share": count / weights}
                for role, count in sorted(by_module.items(), key=lambda pair: -pair[1])
            ],
        }

    def save(self, path: Path) -> None:
        """Write the selection as JSON (indices as compressed base64 of int64 differences)."""
        document: SelectionDocument = {
            "schema": "hfbiasedit.selection/1",
            "granularity": self.granularity,
            "model": self.model,
            "items": self.items,
            "of": self.of,
            "weights": self.weights,
            "origin": dict(self.origin),
            "slices": {name: _pack(part) for name, part in self.slices.items()},
        }
        write_json(path, document)

    @classmethod
    def load(cls, path: Path, model: nn.Module | None = None) -> Selection:
        """Read a saved selection and, given a model, check that it is of that model.

        Raises:
            BiasEditError: the file is not a selection, is damaged, or is of another model.
        """
        document = read_document(path, SelectionDocument)
        try:
            slices = {name: _unpack(name, part) for name, part in document["slices"].items()}
            loaded = cls(
                document["granularity"],
                slices,
                document["model"],
                document["items"],
                document["of"],
                document.get("origin", {}),
            )
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
            raise BiasEditError(f"{path} is damaged and cannot be read as a selection") from error
        if not loaded.slices:
            raise BiasEditError(f"{path} selects no weights")
        if model is not None and loaded.model != fingerprint(model):
            raise BiasEditError(
                f"{path} is a selection of another model: parameters differ in name or shape"
            )
        return loaded


def fingerprint(model: nn.Module) -> str:
    """Digest of the names and shapes of all parameters: what a selection refers to."""
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    return hashlib.sha256(canonical_json(shapes).encode()).hexdigest()


def block_numbers(model: nn.Module) -> dict[str, int]:
    """Block number of every parameter that lies inside a decoder block."""
    numbers = {}
    for number, (path, block) in enumerate(decoder_blocks(model)):
        for name, _ in block.named_parameters():
            numbers[f"{path}.{name}"] = number
    return numbers


def rows_in(item: Projection, rows: Tensor) -> Slice:
    """A slice with whole rows of a projection."""
    return row_slice(item.name, item.shape, item.row_axis, rows)


def whole_of(item: Projection) -> Slice:
    """A slice with all of a projection."""
    return Slice(item.name, WHOLE, item.shape)


def _parameters(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())


def _role(name: str) -> str:
    module, _, attribute = name.rpartition(".")
    return f"{module.rpartition('.')[2]}.{attribute}"


def _pack(part: Slice) -> SliceDocument:
    packed: SliceDocument = {
        "kind": cast(Kind, part.kind),
        "axis": part.axis,
        "shape": list(part.shape),
    }
    if part.index is not None:
        steps = np.diff(part.index.numpy(), prepend=0).astype("<i8")
        packed["count"] = len(steps)
        packed["index"] = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()
    return packed


def _unpack(name: str, packed: SliceDocument) -> Slice:
    shape = tuple(int(size) for size in packed["shape"])
    kind, axis = packed["kind"], int(packed["axis"])
    if kind not in ("whole", "rows", "entries") or axis not in (0, 1)[: len(shape)]:
        raise ValueError(kind)
    if kind == "whole":
        return Slice(name, kind, shape, axis)
    count = int(packed["count"])
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(base64.b64decode(packed["index"], validate=True), 8 * count)
    index = torch.from_numpy(np.cumsum(np.frombuffer(raw, dtype="<i8")).astype(np.int64))
    size = int(np.prod(shape))
    across = shape[-1 - axis] if len(shape) > 1 else 1
    limit = size if kind == "entries" else size // across
    ascending = bool((index[1:] > index[:-1]).all())
    if len(index) != count or not count or not ascending or index[0] < 0 or index[-1] >= limit:
        raise ValueError("index")
    return Slice(name, kind, shape, axis, index)
