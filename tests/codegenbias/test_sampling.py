"""Samples are balanced, stable and independent of everything but the names and the seed."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from hfbiasedit.codegenbias.sampling import balanced_sample

axis = st.integers(1, 6)


def identity(item):
    return item


@st.composite
def grids(draw):
    """A grid with some cells missing."""
    sizes = draw(axis), draw(axis), draw(axis)
    cells = [
        (f"p{p}", f"t{t}", f"m{m}")
        for p in range(sizes[0])
        for t in range(sizes[1])
        for m in range(sizes[2])
    ]
    return draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))


@given(items=grids(), size=st.integers(1, 250), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_sample_is_a_part_in_the_same_order(items, size, seed):
    chosen = balanced_sample(items, size, seed, identity)
    assert len(chosen) == min(size, len(items))
    assert chosen == [item for item in items if item in set(chosen)]
    assert chosen == balanced_sample(items, size, seed, identity)


@given(items=grids(), size=st.integers(1, 250), seed=st.integers(0, 99))
@settings(deadline=None)
def test_no_profession_gets_a_second_more_while_another_could_have_it(items, size, seed):
    have = Counter(item[0] for item in items)
    got = Counter(item[0] for item in balanced_sample(items, size, seed, identity))
    most = max(got.values())
    for profession in have:
        assert got[profession] >= min(have[profession], most - 1)


@given(items=grids(), size=st.integers(1, 250), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_profession_gets_its_templates_in_turn(items, size, seed):
    chosen = balanced_sample(items, size, seed, identity)
    for profession in {item[0] for item in items}:
        have = Counter(item[1] for item in items if item[0] == profession)
        got = Counter(item[1] for item in chosen if item[0] == profession)
        most = max(got.values(), default=0)
        for template in have:
            assert got[template] >= min(have[template], most - 1)


def test_a_full_grid_is_covered_evenly():
    items = [(f"p{p}", f"t{t}", f"m{m}") for p in range(60) for t in range(12) for m in range(12)]
    chosen = balanced_sample(items, 120, 0, identity)
    assert set(Counter(item[0] for item in chosen).values()) == {2}
    assert set(Counter(item[1] for item in chosen).values()) == {10}
    assert all(5 <= n <= 15 for n in Counter(item[2] for item in chosen).values())


def test_the_seed_matters_and_the_order_of_items_does_not():
    items = [(f"p{p}", f"t{t}", "m") for p in range(20) for t in range(5)]
    chosen = balanced_sample(items, 20, 1, identity)
    assert chosen != balanced_sample(items, 20, 2, identity)
    assert sorted(chosen) == sorted(balanced_sample(items[::-1], 20, 1, identity))


def test_another_start_serves_the_other_professions_first():
    items = [(f"p{p}", f"t{t}", "m") for p in range(20) for t in range(5)]
    parts = [balanced_sample(items, 7, 0, identity, start) for start in (0, 7, 14)]
    served = [{item[0] for item in part} for part in parts]
    assert served[0].isdisjoint(served[1])
    assert len(set().union(*served)) == 20
    assert parts[0] == balanced_sample(items, 7, 0, identity, 20)
