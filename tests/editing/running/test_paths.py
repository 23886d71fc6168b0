"""Which tokens of a row are whose, by hand."""

import torch

from hfbiasedit.editing.running.paths import Paths, current, following

# Five tokens: the first is everybody's, the second of the first two prompts.
INSIDE = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 1, 1]], dtype=torch.bool)


def test_places_and_parts():
    paths = Paths.of(INSIDE)
    assert paths.place.tolist() == [[0, 1, 2], [0, 1, 0], [0, 3, 4]]
    third = 1 / 3
    expected = torch.tensor([[third, 0.5, 1.0], [third, 0.5, 0.0], [third, 1.0, 1.0]])
    torch.testing.assert_close(paths.part, expected)


def test_products_by_prompt():
    left, right = torch.randn(1, 5, 2), torch.randn(1, 5, 3)
    a, b = Paths.of(INSIDE).split(left, right)
    found = a.transpose(1, 2) @ b
    each = left[0][:, :, None] * right[0][:, None, :]
    torch.testing.assert_close(found[1], each[0] / 3 + each[1] / 2)
    torch.testing.assert_close(found[2], each[0] / 3 + each[3] + each[4])


def test_parts_of_tokens_by_prompt():
    third = 1 / 3
    expected = torch.zeros(3, 6)
    expected[:, 0] = third
    expected[:2, 1] = 0.5
    expected[0, 2] = expected[2, 3] = expected[2, 4] = 1
    torch.testing.assert_close(Paths.of(INSIDE).parts(6), expected)


def test_a_row_that_holds_some_of_the_tokens_only():
    # An expert that was given the second, fourth and fifth token, and padding.
    token = torch.tensor([[1, 3, 4, -1]])
    left, right = torch.randn(1, 4, 2), torch.randn(1, 4, 3)
    a, b = Paths.of(INSIDE).given(token).split(left, right)
    found = a.transpose(1, 2) @ b
    each = left[0][:, :, None] * right[0][:, None, :]
    torch.testing.assert_close(found[0], each[0] / 2)
    torch.testing.assert_close(found[1], each[0] / 2)
    torch.testing.assert_close(found[2], each[1] + each[2])


def test_paths_are_those_of_the_pass():
    paths = Paths.of(INSIDE)
    assert current() is None
    with following(paths):
        assert current() is paths
    assert current() is None
