"""Correct programs pass, whatever their values are; what cannot cross is never called wrong."""

import textwrap

import pytest

from hfbiasedit.isolation.judge import Case, Limits, judge

LIMITS = Limits(cpu_seconds=3, wall_seconds=60)


def run(program, test, helpers=""):
    program, test, helpers = (textwrap.dedent(text) for text in (program, test, helpers))
    return judge(
        Case(helpers + program, "f", test, helpers), LIMITS, ("landlock", "seccomp", "hook")
    )


# Each: imports, what the program returns, and what is true of it in the tests.
VALUES = {
    "timedelta": ("import datetime", "datetime.timedelta(1, 2, 3)", "got == datetime.timedelta(1, 2, 3)"),
    "timezone": (
        "from datetime import *",
        "datetime(2020, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))",
        "got == datetime(2020, 1, 2, 1, tzinfo=timezone.utc)",
    ),
    "a timezone alone": ("from datetime import *", "timezone.utc", "got == timezone.utc"),
    "deque": ("from collections import deque", "deque([1, 2, 3], 2)", "got == deque([2, 3]) and got.maxlen == 2"),
    "Counter": ("from collections import Counter", "Counter('aab')", "got == Counter('aab') and got['z'] == 0 and got.most_common(1) == [('a', 2)]"),
    "OrderedDict": ("from collections import OrderedDict", "OrderedDict(b=1, a=2)", "got != OrderedDict(a=2, b=1) and got == OrderedDict(b=1, a=2)"),
    "defaultdict": ("from collections import defaultdict", "defaultdict(list, a=[1])", "got == {'a': [1]} and got['b'] == []"),
    "namedtuple": ("from collections import namedtuple", "namedtuple('P', 'x y')(1, 2)", "got == (1, 2) and got.x == 1 and got._asdict() == {'x': 1, 'y': 2}"),
    "Path": ("from pathlib import Path", "Path('a') / 'b.txt'", "got == Path('a/b.txt') and got.suffix == '.txt'"),
    "PurePath": ("import pathlib", "pathlib.PureWindowsPath('a/b')", "str(got) == 'a\\\\b'"),
    "UUID": ("import uuid", "uuid.UUID(int=5)", "got == uuid.UUID(int=5)"),
    "array": ("from array import array", "array('d', [0.5, 2])", "got == array('d', [0.5, 2])"),
    "Decimal": ("from decimal import Decimal", "Decimal('1.20')", "str(got) == '1.20'"),
    "Fraction": ("from fractions import Fraction", "Fraction(-2, 6)", "got == Fraction(-1, 3)"),
    "dates": ("import datetime", "[datetime.date(2020, 1, 2), datetime.time(3, 4)]", "got == [datetime.date(2020, 1, 2), datetime.time(3, 4)]"),
    "pattern": ("import re", "re.compile('a+', re.I)", "got.match('AA')"),
    "address": ("import ipaddress", "ipaddress.ip_network('10.0.0.0/8')", "ipaddress.ip_address('10.1.1.1') in got"),
    "views": ("", "({1: 2}.keys(), {1: 2}.values(), {1: 2}.items())", "got[0] == {1} and list(got[1]) == [2] and got[2] == {(1, 2)}"),
    "bytes": ("", "(b'ab', bytearray(b'c'), memoryview(b'd'))", "got == (b'ab', b'c', b'd') and type(got[1]) is bytearray"),
    "numbers": ("", "(2**80, -2**53, 1j, float('inf'), True)", "got == (2**80, -2**53, 1j, float('inf'), True) and got[4] is True"),
    "range and slice": ("", "(range(1, 9, 2), slice(None, 3))", "got == (range(1, 9, 2), slice(None, 3))"),
    "singletons": ("", "(..., NotImplemented, None)", "got[0] is ... and got[1] is NotImplemented"),
    "a class": ("", "[int, ValueError]", "got == [int, ValueError]"),
    "an exception": ("", "ValueError('x', 3)", "type(got) is ValueError and got.args == ('x', 3)"),
    "nested sets": ("", "{frozenset({1, 2}), (3, (4,))}", "got == {frozenset({1, 2}), (3, (4,))}"),
    "an endless iterator": ("import itertools", "itertools.count(5)", "[next(got) for _ in range(100)] == list(range(5, 105))"),
    "a long iterator": ("", "iter(range(10_000))", "list(got) == list(range(10_000))"),
    "a list in itself": ("", "(lambda a: a.append(a) or a)([1])", "got[1] is got and got[0] == 1"),
    "one list twice": ("", "(lambda a: [a, a])([1])", "got[0] is got[1]"),
    "a function": ("", "lambda x: x + 1", "got(2) == 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_arrive_as_they_are(name):
    imports, value, claim = VALUES[name]
    program = f"{imports}\ndef f(): return {value}"
    found = run(program, f"{imports}\ngot = f()\nassert {claim}, got")
    assert (found.verdict, found.detail) == ("passed", "")
    assert run(program, f"{imports}\ngot = f()\nassert not ({claim})").verdict == "failed"


@pytest.mark.parametrize("name", VALUES)
def test_values_reach_the_program_as_they_are(name):
    imports, value, claim = VALUES[name]
    found = run(
        f"{imports}\ndef f(got): return bool({claim})", f"{imports}\nassert f({value}) is True"
    )
    assert (found.verdict, found.detail) == ("passed", "")


CAUGHT = {
    "a subclass": ("class E(ValueError): pass", "E('no')", "ValueError"),
    "a subclass of a subclass": ("class D(KeyError): pass\nclass E(D): pass", "E('no')", "LookupError"),
    "two bases": ("class E(KeyError, ValueError): pass", "E('no')", "ValueError"),
    "two bases, the other": ("class E(KeyError, ValueError): pass", "E('no')", "KeyError"),
    "one of the library": ("import json", "json.JSONDecodeError('no', 'text', 1)", "ValueError"),
    "with arguments of its own": ("class E(OSError):\n    def __init__(self, a, b): super().__init__(a + b)", "E('n', 'o')", "OSError"),
    "one of several arguments": ("", "UnicodeDecodeError('utf-8', b'x', 0, 1, 'no')", "UnicodeDecodeError"),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUGHT)
def test_exceptions_keep_their_bases(name):
    program, error, kind = CAUGHT[name]
    test = f"""
try:
    f()
except {kind} as error:
    assert "no" in str(error)
else:
    assert False
"""
    program = f"{program}\ndef f(): raise {error}"
    assert run(program, test).verdict == "passed"
    unrelated = test.replace(f"except {kind}", "except ZeroDivisionError")
    assert run(program, unrelated).verdict == "failed"


def test_exceptions_keep_arguments_and_attributes():
    program = """
        class E(Exception):
            def __init__(self, code):
                super().__init__("text", code)
                self.code = code
        def f(what):
            raise E([7]) if what else KeyError("k")
        """
    test = """
        try: f(1)
        except Exception as error: assert error.code == [7] and error.args == ("text", [7])
        try: f(0)
        except KeyError as error: assert str(error) == "'k'", str(error)
        """
    assert run(program, test).verdict == "passed"


def test_an_exception_of_the_library_is_caught_by_its_own_name():
    test = """
        import json
        try: f()
        except json.JSONDecodeError as error: pass
        """
    assert run("import json\ndef f(): return json.loads('{')", test).verdict == "passed"


PROMPT = """
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Optional

class Color(Enum):
    RED = 1
    BLUE = 2

class TooMuch(ValueError):
    def __init__(self, limit, found):
        super().__init__(f"{found} of {limit}")
        self.limit = limit

class Point(NamedTuple):
    x: int
    y: int = 0

    def norm(self): return abs(self.x) + abs(self.y)

@dataclass(frozen=True)
class Item:
    name: str
    tags: list = field(default_factory=list)

class Node:
    __slots__ = ("value", "next")
    def __init__(self, value, next=None):
        self.value, self.next = value, next

class Tree:
    def __init__(self, value, left=None, right=None):
        self.value, self.left, self.right = value, left, right

class Bag(dict):
    pass

"""
OWN = {
    "an enumeration": ("return Color.BLUE", "assert f(1) is Color.BLUE"),
    "an enumeration as argument": ("return x is Color.RED", "assert f(Color.RED) is True"),
    "a named tuple": ("return Point(x, -2)", "assert f(1) == Point(1, -2) and f(1).norm() == 3 and type(f(1)) is Point"),
    "a data class": ("return Item('a', [x])", "assert f(1) == Item('a', [1])"),
    "an exception": ("raise TooMuch(3, x)", "try:\n    f(4)\n    assert False\nexcept TooMuch as e:\n    assert e.limit == 3 and str(e) == '4 of 3'"),
    "an exception by its base": ("raise TooMuch(3, x)", "try:\n    f(4)\n    assert False\nexcept ValueError:\n    pass"),
    "a linked list": ("return Node(x, Node(2))", "n = f(1)\nassert (n.value, n.next.value, n.next.next) == (1, 2, None)"),
    "one that is changed": ("x.left, x.right = x.right, x.left\n    return x", "t = Tree(1, Tree(2))\nassert f(t) is t\nassert t.left is None and t.right.value == 2"),
    "a circle": ("t = Tree(x); t.left = t\n    return t", "t = f(3)\nassert t.left is t and t.value == 3"),
    "a dictionary of its own": ("b = Bag(a=x); b.note = 'n'\n    return b", "b = f(5)\nassert type(b) is Bag and b == {'a': 5} and b.note == 'n'"),
    "the class itself": ("return x is Tree", "assert f(Tree)"),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_objects_of_the_prompts_classes_cross(name):
    body, test = OWN[name]
    judgement = run(f"def f(x):\n    {body}\n", test, PROMPT)
    assert (judgement.verdict, judgement.detail) == ("passed", "")


def test_a_class_that_the_program_changed_does_not_cross_as_the_prompts():
    program = "class Tree:\n    def __eq__(self, other): return True\ndef f(): return Tree()"
    judgement = run(program, "assert f() == 2", PROMPT)
    assert judgement.verdict == "unjudged"
    assert "Tree" in judgement.detail


@pytest.mark.parametrize("value", ["Own()", "[Own()]", "__import__('re').match('a', 'a')"])
@pytest.mark.parametrize("test", ["assert f() == 1", "try:\n    f()\nexcept Exception: pass"])
def test_what_cannot_cross_is_not_called_wrong_nor_right(value, test):
    judgement = run(f"class Own: pass\ndef f(): return {value}", test)
    assert judgement.verdict == "unjudged"
    assert "cannot pass between" in judgement.detail


def test_arguments_are_changed_in_place_by_name_too():
    program = "def f(a, b):\n    a.append(1); b['k'] = 2; return a"
    test = "a, b = [], {}\nassert f(a, b=b) is a\nassert a == [1] and b == {'k': 2}"
    assert run(program, test).verdict == "passed"


def test_an_iterator_raises_after_its_items():
    program = "def f():\n    yield 1\n    yield 2\n    yield 3\n    raise ValueError('end')"
    test = """
        got = []
        try:
            for n in f(): got.append(n)
        except ValueError: got.append("end")
        assert got == [1, 2, 3, "end"], got
        """
    assert run(program, test).verdict == "passed"


def test_a_data_class_with_postponed_annotations_can_be_defined():
    program = """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class P:
            x: int
        def f(): return P(3).x
        """
    assert run(program, "assert f() == 3").verdict == "passed"


def test_skipping_a_test_from_within_is_no_pass():
    test = """
        import unittest
        class T(unittest.TestCase):
            def test(self): self.assertEqual(f(), 1)
        """
    program = "import unittest\ndef f(): raise unittest.SkipTest('no')"
    assert run(program, test).verdict != "passed"
