"""Random edits of tiny models, made twice: as changes for a patch and directly on a copy."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors import safe_open
from transformers.pytorch_utils import Conv1D

from hfbiasedit.patches.building import Change


def random_changes(model, kind: str, *, seed: int = 0, dtype=None):
    """(changes, edited copy): some weights of every parameter of rank 2 or more get new values.

    The edited copy is made by plain indexing, independently of the code under test.
    """
    generator = torch.Generator().manual_seed(seed)
    edited = copy.deepcopy(model)
    targets = dict(edited.named_parameters())
    changes = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        target = targets[name].data
        module = model.get_submodule(name.rpartition(".")[0])
        axis = int(isinstance(module, Conv1D))
        if kind == "whole":
            new = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            target.copy_(new)
            changes[name] = Change("whole", None, new)
        elif kind == "entries":
            index = torch.randperm(parameter.numel(), generator=generator)[:7]
            new = torch.randn(index.numel(), generator=generator).to(parameter.dtype)
            target.view(-1)[index] = new
            changes[name] = Change("entries", index, new)
        else:
            height, width = parameter.shape[-2:]
            length, count = (width, height) if axis == 0 else (height, width)
            stack = parameter.numel() // (height * width)
            index = torch.randperm(stack * count, generator=generator)[:5]
            new = torch.randn(index.numel(), length, generator=generator).to(parameter.dtype)
            matrices = target.view(stack, height, width)
            for number, row in zip(index.tolist(), new, strict=True):
                matrix, position = divmod(number, count)
                if axis == 0:
                    matrices[matrix, position] = row
                else:
                    matrices[matrix, :, position] = row
            changes[name] = Change("rows", index, new, axis)
    return changes, edited


def stored_tensors(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, read by safetensors itself."""
    tensors = {}
    for file in sorted(Path(directory).glob("*.safetensors")):
        with safe_open(file, "pt") as shard:
            for name in shard.keys():  # noqa: SIM118 (not a dict)
                assert name not in tensors
                tensors[name] = shard.get_tensor(name)
    return tensors


def assert_same_bits(one: dict, other: dict) -> None:
    """Two maps of tensors are equal in names, shapes, dtypes and bits."""
    assert one.keys() == other.keys()
    widths = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    for name, tensor in one.items():
        twin = other[name]
        assert (tensor.shape, tensor.dtype) == (twin.shape, twin.dtype), name
        width = widths[tensor.element_size()]
        assert torch.equal(tensor.contiguous().view(width), twin.contiguous().view(width)), name


def parameters(model) -> dict[str, torch.Tensor]:
    """Every parameter, tied ones under all their names."""
    return {name: p.detach() for name, p in model.named_parameters(remove_duplicate=False)}
