"""Tests of every layout run; those that test nothing pass nobody."""

import textwrap

import pytest

from hfbiasedit.isolation.judge import Case, Limits, judge

LIMITS = Limits(cpu_seconds=3, wall_seconds=60)
RIGHT, WRONG = "def f(x): return x + 1", "def f(x): return x"
UNITTEST = """
import unittest
class Test(unittest.TestCase):
    def setUp(self): self.one = 1
    def test_f(self): self.assertEqual(f(self.one), 2)
    def test_g(self): self.assertEqual(f(2), 3)
"""
CASES = {
    "check": "def check(candidate):\n    assert candidate(1) == 2",
    "asserts": "assert f(1) == 2",
    "unittest": UNITTEST,
    "pytest function": "def test_f():\n    assert f(1) == 2",
    "pytest function with the candidate": "def test_f(candidate):\n    assert candidate(1) == 2",
    "pytest class": "class TestF:\n    def setup_method(self): self.x = 1\n    def test_f(self): assert f(self.x) == 2",
}
EMPTY = {
    "empty": "",
    "a comment": "# assert f(1) == 2",
    "misspelt check": "def chek(candidate):\n    assert candidate(1) == 2",
    "nothing called": "def check(candidate):\n    assert True",
    "main guard": "if __name__ == '__main__':\n    assert f(1) == 2",
    "a fixture": "def test_f(data):\n    assert f(data) == 2",
    "skipped": UNITTEST.replace("class Test", "@unittest.skip('later')\nclass Test"),
    "numpy": "import numpy\nassert f(1) == 2",
    "pytest itself": "import pytest\ndef test_f():\n    assert f(1) == 2",
}  # fmt: skip


def run(program, test, helpers=""):
    return judge(Case(textwrap.dedent(program), "f", test, helpers), LIMITS)


@pytest.mark.parametrize("name", CASES)
def test_right_programs_pass_and_wrong_ones_fail_in_every_layout(name):
    assert run(RIGHT, CASES[name]).verdict == "passed"
    wrong = run(WRONG, CASES[name])
    assert (wrong.verdict, wrong.detail.split(":")[0]) == ("failed", "AssertionError")
    broken = run("def f(x): raise KeyError(x)", CASES[name])
    assert (broken.verdict, broken.detail.split(":")[0]) == ("failed", "KeyError")


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("program", [RIGHT, WRONG])
def test_tests_that_test_nothing_judge_nobody(name, program):
    judgement = run(program, EMPTY[name])
    assert judgement.verdict == "unjudged"
    assert judgement.detail


def test_a_prompt_that_needs_a_library_is_not_judged():
    judgement = run(RIGHT, CASES["check"], "import numpy as np\n")
    assert judgement.verdict == "unjudged"
    assert "numpy" in judgement.detail
    lazy = run("def f(x):\n    import numpy\n    return x + 1", CASES["check"])
    assert lazy.verdict == "failed"  # the program's own doing


def test_running_out_of_memory_in_a_case_of_unittest_is_memory():
    assert run("def f(x): return [0] * 10**12", UNITTEST).verdict == "memory"
