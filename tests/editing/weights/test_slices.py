import pytest
import torch

from hfbiasedit.editing.weights.slices import Slice, entry_slice, row_slice

SHAPES = [(6, 8), (3, 4, 6)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_are_taken_and_put_back(shape, axis):
    tensor = torch.arange(float(torch.Size(shape).numel())).view(shape)
    index = torch.tensor([5, 1, 1])
    part = row_slice("w", shape, axis, index)
    assert part.index.tolist() == [1, 5]
    taken = part.take(tensor)
    matrices = tensor if len(shape) == 3 else tensor[None]
    slices = [row for matrix in matrices for row in (matrix.T if axis else matrix)]
    assert torch.equal(taken, torch.stack([slices[1], slices[5]]))
    assert part.count == taken.numel()
    changed = tensor.clone()
    part.put_(changed, taken + 1)
    assert torch.equal(part.take(changed), taken + 1)
    assert int((changed != tensor).sum()) == part.count
    assert torch.equal(part.entries(), (changed != tensor).reshape(-1).nonzero().squeeze(1))


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_of_one_matrix(axis):
    tensor = torch.randn(4, 6)
    part = row_slice("w", (4, 6), axis, torch.tensor([3, 0]))
    assert torch.equal(part.take(tensor), (tensor.T if axis else tensor)[[0, 3]])


def test_entries_and_whole():
    tensor = torch.randn(3, 5)
    part = entry_slice("w", (3, 5), torch.tensor([14, 2]))
    assert torch.equal(part.take(tensor), tensor.reshape(-1)[[2, 14]])
    assert part.count == 2
    whole = Slice("w", "whole", (3, 5))
    assert whole.count == 15
    copy = torch.zeros(3, 5)
    whole.put_(copy, whole.take(tensor))
    assert torch.equal(copy, tensor)


@pytest.mark.parametrize("seed", range(5))
def test_intersections_are_those_of_the_entries(seed):
    generator = torch.Generator().manual_seed(seed)

    def some(limit, count):
        return torch.randperm(limit, generator=generator)[:count]

    shape = (6, 8)
    parts = [
        Slice("w", "whole", shape),
        row_slice("w", shape, 0, some(6, 3)),
        row_slice("w", shape, 0, some(6, 3)),
        row_slice("w", shape, 1, some(8, 4)),
        entry_slice("w", shape, some(48, 20)),
    ]
    for first in parts:
        for second in parts:
            expected = sorted(set(first.entries().tolist()) & set(second.entries().tolist()))
            common = first.intersect(second)
            assert (common.entries().tolist() if common else []) == expected
