"""Samples are balanced, stable and independent of everything but the names and the seed."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from hfbiasedit.codegenbias.sampling import balanced_sample

axis = st.integers(1, 6)


def axes(item):
    return item[:3]


@st.composite
def grids(draw):
    """A grid with some cells missing and some that several items share."""
    sizes = draw(axis), draw(axis), draw(axis), draw(st.integers(1, 3))
    cells = [
        (f"p{p}", f"t{t}", f"m{m}", n)
        for p in range(sizes[0])
        for t in range(sizes[1])
        for m in range(sizes[2])
        for n in range(sizes[3])
    ]
    return draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))


@given(items=grids(), size=st.integers(1, 250), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_sample_is_a_part_in_the_same_order(items, size, seed):
    chosen = balanced_sample(items, size, seed, axes)
    assert len(chosen) == min(size, len(items))
    assert chosen == [item for item in items if item in set(chosen)]
    assert chosen == balanced_sample(items, size, seed, axes)


@given(items=grids(), size=st.integers(1, 250), seed=st.integers(0, 99))
@settings(deadline=None)
def test_no_profession_gets_a_second_more_while_another_could_have_it(items, size, seed):
    have = Counter(item[0] for item in items)
    got = Counter(item[0] for item in balanced_sample(items, size, seed, axes))
    most = max(got.values())
    for profession in have:
        assert got[profession] >= min(have[profession], most - 1)


@given(items=grids(), size=st.integers(1, 250), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_profession_gets_its_templates_in_turn(items, size, seed):
    chosen = balanced_sample(items, size, seed, axes)
    for profession in {item[0] for item in items}:
        have = Counter(item[1] for item in items if item[0] == profession)
        got = Counter(item[1] for item in chosen if item[0] == profession)
        most = max(got.values(), default=0)
        for template in have:
            assert got[template] >= min(have[template], most - 1)


def test_a_full_grid_is_covered_evenly():
    items = [(f"p{p}", f"t{t}", f"m{m}") for p in range(60) for t in range(12) for m in range(12)]
    chosen = balanced_sample(items, 120, 0, axes)
    assert set(Counter(item[0] for item in chosen).values()) == {2}
    assert set(Counter(item[1] for item in chosen).values()) == {10}
    assert all(5 <= n <= 15 for n in Counter(item[2] for item in chosen).values())


def test_the_seed_matters_and_the_order_of_items_does_not():
    items = [(f"p{p}", f"t{t}", "m") for p in range(20) for t in range(5)]
    chosen = balanced_sample(items, 20, 1, axes)
    assert chosen != balanced_sample(items, 20, 2, axes)
    assert sorted(chosen) == sorted(balanced_sample(items[::-1], 20, 1, axes))


def test_items_of_one_key_are_all_there_to_be_taken():
    items = [(f"p{p}", "custom", "", n) for p in range(3) for n in range(20)]
    assert len(balanced_sample(items, 59, 0, axes)) == 59
    chosen = balanced_sample(items, 12, 0, axes)
    assert Counter(item[0] for item in chosen) == {"p0": 4, "p1": 4, "p2": 4}
    assert chosen != balanced_sample(items, 12, 1, axes)
    assert sorted(chosen) == sorted(balanced_sample(items[::-1], 12, 0, axes))


def test_modifiers_come_back_only_after_one_another():
    items = [("p", "t", modifier, n) for modifier in "abc" for n in range(5)]
    chosen = balanced_sample(items, 7, 0, axes)
    assert sorted(Counter(item[2] for item in chosen).values()) == [2, 2, 3]


def test_another_start_serves_the_other_professions_first():
    items = [(f"p{p}", f"t{t}", "m") for p in range(20) for t in range(5)]
    parts = [balanced_sample(items, 7, 0, axes, start) for start in (0, 7, 14)]
    served = [{item[0] for item in part} for part in parts]
    assert served[0].isdisjoint(served[1])
    assert len(set().union(*served)) == 20
    assert parts[0] == balanced_sample(items, 7, 0, axes, 20)
