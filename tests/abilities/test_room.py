"""Keys and values of rows that come and go, against plain tensors that are cut and joined."""

import random

import torch
from torch.nn.functional import pad

from hfbiasedit.abilities.generating.room import RoomyLayer, roomy_cache


def states(rows, columns):
    return torch.randn(rows, 2, columns, 3), torch.randn(rows, 2, columns, 3)


def layer_of(rows, columns):
    layer, (keys, values) = RoomyLayer(), states(rows, columns)
    layer.update(keys, values)
    return layer, keys, values


def same(layer, keys, values):
    assert torch.equal(layer.keys, keys)
    assert torch.equal(layer.values, values)
    assert layer.get_seq_length() == keys.shape[2]
    assert layer.get_mask_sizes(1) == (keys.shape[2] + 1, 0)


def test_columns_are_added_however_many():
    layer, keys, values = layer_of(3, 5)
    for size in [1] * 70 + [200, 1]:
        new = states(3, size)
        found = layer.update(*new)
        keys, values = torch.cat([keys, new[0]], 2), torch.cat([values, new[1]], 2)
        assert torch.equal(found[0], keys)
        same(layer, keys, values)


def test_most_steps_copy_nothing():
    layer, _, _ = layer_of(3, 5)
    places = set()
    for _ in range(60):
        layer.update(*states(3, 1))
        places.add(layer.keys.data_ptr())
    assert len(places) == 1


def test_rows_are_joined_at_their_ends():
    layer, *mine = layer_of(2, 4)
    wide, *second = layer_of(1, 7)
    narrow, *third = layer_of(3, 2)
    layer.join([wide, narrow])
    expected = [
        torch.cat([pad(part, (0, 0, 7 - part.shape[2], 0)) for part in parts])
        for parts in zip(mine, second, third, strict=True)
    ]
    same(layer, *expected)


def test_any_course_of_rows_and_columns():
    draw = random.Random(0)
    torch.manual_seed(0)
    layer, keys, values = layer_of(6, 9)
    for _ in range(200):
        rows, columns = keys.shape[0], keys.shape[2]
        if rows > 1 and draw.random() < 0.3:
            left = draw.randint(1, rows - 1)
            moves = [(draw.randrange(left, rows), draw.randrange(left))]
            keep = draw.randint(1, columns)
            layer.shrink(moves, left, keep)
            for held in (keys, values):
                held[moves[0][1]] = held[moves[0][0]]
            keys, values = (held[:left, :, -keep:].clone() for held in (keys, values))
        elif draw.random() < 0.2:
            other, *new = layer_of(draw.randint(1, 3), draw.randint(1, 90))
            layer.join([other])
            wide = max(columns, new[0].shape[2])
            keys, values = (
                torch.cat([pad(p, (0, 0, wide - p.shape[2], 0)) for p in (held, more)])
                for held, more in zip((keys, values), new, strict=True)
            )
        else:
            new = states(rows, draw.choice((1, 1, 1, 30)))
            layer.update(*new)
            keys, values = torch.cat([keys, new[0]], 2), torch.cat([values, new[1]], 2)
        same(layer, keys, values)


def test_a_cache_makes_a_layer_for_every_one_of_the_model():
    cache = roomy_cache()
    for number in range(2):
        cache.update(*states(1, 4), number)
    assert [type(layer) for layer in cache.layers] == [RoomyLayer, RoomyLayer]
