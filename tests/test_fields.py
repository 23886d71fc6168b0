"""A field of an options class refuses what it cannot take, in one line."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest

from hfbiasedit.errors import UsageError
from hfbiasedit.fields import (
    Options,
    check_batch_size,
    choices_of,
    documented,
    hints_of,
    option,
    options_of,
)


def refuse_odd(name, value):
    if value % 2:
        raise UsageError(f"{name} is odd")


@documented
@dataclass(frozen=True, kw_only=True)
class Kitchen(Options):
    """What is cooked."""

    dish: Literal["soup", "stew"] = option("soup", "What is cooked.", note="It is hot.")
    sides: tuple[Literal["bread", "rice"], ...] = option((), "With it.", one="side")
    spice: str = option("salt", "Taken from the shelf.", choices=lambda: ("salt", "pepper"))
    guests: int = option(2, "How many eat.", least=1)
    heat: float | None = option(None, "Of the stove.", least=0)
    salt: float = option(1.0, "A pinch.", above=0, most=3)
    chairs: int = option(2, "Come in pairs.", check=refuse_odd)
    book: Path | None = option(None, "Recipes.")
    place: str | Path = option("here", "Where.")
    tip: Any = option(None, "Whatever you like.")
    loud: bool = option(False, "With music.")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(dish="stw"), "unknown dish 'stw'; did you mean stew? use one of soup, stew"),
        (dict(dish=3), "dish is 3; give text"),
        (dict(heat=float("nan")), "heat is nan; give a finite number"),
        (dict(heat=float("inf")), "heat is inf; give a finite number"),
        (dict(sides=("bread", "rise")), "unknown side 'rise'; did you mean rice?"),
        (dict(sides="bread"), "sides is 'bread'; give a tuple"),
        (dict(sides=(1,)), "sides is (1,); give a tuple"),
        (dict(spice="xyz"), "unknown spice 'xyz'; use one of salt, pepper"),
        (dict(guests=0), "guests is 0; give at least 1"),
        (dict(salt=0), "salt is 0; give a number above 0"),
        (dict(salt=3.5), "salt is 3.5; give at most 3"),
        (dict(guests=1.5), "guests is 1.5; give a whole number"),
        (dict(guests=True), "guests is True; give a whole number"),
        (dict(guests="2"), "guests is '2'; give a whole number"),
        (dict(guests=None), "guests is None; give a whole number"),
        (dict(heat=-0.1), "heat is -0.1; give 0 or more"),
        (dict(heat="hot"), "heat is 'hot'; give a number or None"),
        (dict(chairs=3), "chairs is odd"),
        (dict(book=3), "book is 3; give a path or None"),
        (dict(loud=1), "loud is 1; give True or False"),
    ],
)
def test_a_wrong_value_is_one_line(given, message):
    with pytest.raises(UsageError) as refused:
        Kitchen(**given)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_what_fits_is_kept_and_what_is_meant_is_converted():
    made = Kitchen(sides=["rice"], heat=3, book="a.txt", place="there", tip=object(), chairs=4)
    assert made.sides == ("rice",)
    assert made.book == Path("a.txt")
    assert made.place == "there"
    assert (made.heat, made.chairs) == (3, 4)


def test_the_documentation_is_that_of_the_fields():
    text = Kitchen.__doc__
    assert text.startswith("What is cooked.")
    assert "    dish: What is cooked. It is hot.\n" in text
    assert [line.split(":")[0].strip() for line in text.splitlines()[3:] if line.strip()] == [
        field.name for field in fields(Kitchen)
    ]


def test_choices_come_from_a_literal_a_tuple_of_them_or_a_list():
    found = {
        name: choices_of(o, hints_of(Kitchen)[name]) for name, o in options_of(Kitchen).items()
    }
    assert found["dish"] == ("soup", "stew")
    assert found["sides"] == ("bread", "rice")
    assert found["spice"] == ("salt", "pepper")
    assert found["guests"] == found["place"] == ()


@pytest.mark.parametrize("value", ["auto", 1, "32"])
def test_batch_sizes(value):
    check_batch_size("batch_size", value)


@pytest.mark.parametrize("value", [0, -3, "many", "0", "-1", "1.5", ""])
def test_no_batch_sizes(value):
    with pytest.raises(UsageError, match="neither auto nor a number above 0"):
        check_batch_size("batch_size", value)
