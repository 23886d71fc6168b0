"""Prices come back as they were kept, those of experts too."""

import torch

from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.kept import kept_prices
from hfbiasedit.editing.material.price import Price


def test_prices_are_read_as_they_were_made(tmp_path):
    made = {
        "plain": Price(torch.arange(3.0), torch.arange(2.0)),
        "experts": Price(torch.arange(12.0), torch.arange(8.0), experts=4),
    }
    first = kept_prices(Kept(tmp_path), lambda: made)
    again = kept_prices(Kept(tmp_path, resumed=True), lambda: {})
    for found in (first, again):
        assert found.keys() == made.keys()
        for name, price in made.items():
            assert found[name].experts == price.experts
            for expert in range(price.experts):
                for side, wanted in zip(found[name].of(expert), price.of(expert), strict=True):
                    assert torch.equal(side, wanted)
