"""Slices against plain loops over the tensor's weights."""

import pytest
import torch

from hfbiasedit.models.indexing import ENTRIES, ROWS, WHOLE, gather, scatter


def strided(shape, how):
    """A tensor with every weight different, plain or a view with other strides."""
    if how == "plain":
        return torch.arange(float(torch.Size(shape).numel())).view(shape)
    turned = torch.arange(float(torch.Size(shape).numel())).view(tuple(reversed(shape)))
    return turned.permute(*reversed(range(len(shape))))


def slices_of(tensor, axis):
    """The slices one by one, matrix after matrix."""
    matrices = tensor.reshape(-1, *tensor.shape[-2:]) if tensor.dim() > 2 else tensor[None]
    return [row for matrix in matrices for row in (matrix.T if axis else matrix)]


@pytest.mark.parametrize("how", ["plain", "turned"])
@pytest.mark.parametrize("shape", [(6, 8), (3, 4, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("axis", [0, 1])
def test_rows(shape, axis, how):
    tensor = strided(shape, how)
    rows = slices_of(tensor, axis)
    index = torch.tensor([5, 0, 3])
    found = gather(tensor, ROWS, axis, index)
    assert torch.equal(found, torch.stack([rows[5], rows[0], rows[3]]))
    before = tensor.clone()
    scatter(tensor, -found - 1, ROWS, axis, index)
    for number, (row, old) in enumerate(
        zip(slices_of(tensor, axis), slices_of(before, axis), strict=True)
    ):
        assert torch.equal(row, -old - 1 if number in (5, 0, 3) else old)


@pytest.mark.parametrize("how", ["plain", "turned"])
@pytest.mark.parametrize("shape", [(7,), (6, 8), (3, 4, 6)])
def test_entries(shape, how):
    tensor = strided(shape, how)
    flat = [float(value) for value in tensor.reshape(-1)]
    index = torch.tensor([4, 0, 6])
    assert gather(tensor, ENTRIES, 0, index).tolist() == [flat[4], flat[0], flat[6]]
    scatter(tensor, torch.tensor([-1.0, -2.0, -3.0]), ENTRIES, 0, index)
    flat[4], flat[0], flat[6] = -1.0, -2.0, -3.0
    assert tensor.reshape(-1).tolist() == flat


def test_everything_is_the_tensor_itself_and_takes_its_dtype():
    tensor = torch.zeros(2, 3, dtype=torch.bfloat16)
    assert gather(tensor, WHOLE) is tensor
    scatter(tensor, torch.full((2, 3), 1 / 3), WHOLE)
    assert torch.equal(tensor, torch.full((2, 3), 1 / 3).to(torch.bfloat16))
