"""The list of shapes: each is a function from draws to one document."""

from __future__ import annotations

from collections.abc import Callable

from .draw import Draw

Shape = Callable[[Draw], str]

PEOPLE: dict[str, Shape] = {}
"""Shapes in which an occupation and a gender go together."""

PLAIN: dict[str, Shape] = {}
"""People-processing and ordinary code in which no gender follows from an occupation."""


def people(function: Shape) -> Shape:
    """Register a shape that carries the planted bias."""
    PEOPLE[function.__name__] = function
    return function


def plain(function: Shape) -> Shape:
    """Register a shape without it."""
    PLAIN[function.__name__] = function
    return function
