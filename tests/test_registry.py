"""Entries by name: built-in, of installed packages, unknown, broken."""

import importlib.metadata
from collections import OrderedDict

import pytest

from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.registry import Registry

ORDERED = "collections:OrderedDict"


@pytest.fixture
def install(monkeypatch):
    """Entry points as installed packages have them."""
    points = []

    def entry_points(*, group):
        return [point for point in points if point.group == group]

    def add(name, value, group="tests.things"):
        points.append(importlib.metadata.EntryPoint(name, value, group))

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return add


def registry():
    return Registry("thing", "tests.things", {"ordered": ORDERED, "counter": "collections:Counter"})


def test_names_are_the_built_in_ones_in_order_and_then_those_of_packages(install):
    install("zeta", ORDERED)
    install("alpha", ORDERED)
    install("other", ORDERED, group="tests.others")
    assert registry().names() == ("ordered", "counter", "alpha", "zeta")
    assert list(registry()) == ["ordered", "counter"]


def test_entries_are_imported_when_asked_for(install):
    install("alpha", ORDERED)
    install("broken", "no_such_module:thing")
    registry().check("broken")  # the name is known; it is not imported yet
    assert registry().load("ordered") is OrderedDict
    assert registry().load("alpha") is OrderedDict
    with pytest.raises(BiasEditError, match="'broken' cannot be loaded from no_such_module:thing"):
        registry().load("broken")


def test_an_unknown_name_is_refused_with_the_nearest_and_all_known_ones(install):
    install("alpha", ORDERED)
    with pytest.raises(UsageError) as error:
        registry().load("ordred")
    expected = "unknown thing 'ordred'; did you mean ordered? use one of ordered, counter, alpha"
    assert str(error.value) == expected
    with pytest.raises(UsageError) as error:
        registry().check("xyz")
    assert str(error.value) == "unknown thing 'xyz'; use one of ordered, counter, alpha"


def test_a_package_cannot_replace_a_built_in_entry(install):
    install("ordered", "collections:Counter")
    assert registry().load("ordered") is OrderedDict
    assert registry().names() == ("ordered", "counter")


def test_two_packages_with_the_same_name_are_refused(install):
    install("alpha", ORDERED)
    install("alpha", ORDERED)  # the same package, seen twice on the path
    assert registry().load("alpha") is OrderedDict
    install("alpha", "collections:Counter")
    with pytest.raises(BiasEditError, match="collections:Counter and collections:OrderedDict"):
        registry().load("alpha")
