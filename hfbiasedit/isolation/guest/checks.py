"""Run what a problem has for tests, and notice when nothing was tested."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from typing import Any

_HELPERS_ONLY = "    pass\n"


class Unjudged(Exception):
    """The tests cannot tell right from wrong; the text says why."""


class Failed(Exception):
    """A test case failed; the arguments are the name of the exception and its text."""


def run_helpers(source: str, namespace: dict[str, Any]) -> None:
    """Run the definitions of a prompt that its tests may use.

    Raises:
        Unjudged: they do not run.
    """
    try:
        exec(_compile_open(source), namespace)  # noqa: S102
    except Exception as error:
        raise Unjudged(
            f"the prompt's own definitions do not run: {type(error).__name__}: {error}"
        ) from error


def shared_classes(helpers: str, program: str) -> list[str]:
    """Names of the classes that the prompt defines and that the program has unchanged."""
    if "class " not in helpers:
        return []
    try:
        prompt, whole = ast.parse(_closed(helpers)), ast.parse(program)
    except (SyntaxError, ValueError, RecursionError):
        return []
    given = {node.name: ast.dump(node) for node in _classes(prompt)}
    final = {node.name: ast.dump(node) for node in _classes(whole)}
    return [name for name, text in given.items() if final.get(name) == text]


def run_tests(
    source: str, namespace: dict[str, Any], candidate: Any, calls: Callable[[], int]
) -> None:
    """Run tests: module, `check`, unittest's cases; failing those, functions as pytest finds them.

    Args:
        source: the tests. namespace: where they run; holds the candidate under its name.
        candidate: the function to test. calls: how often it has been called so far.

    Raises:
        Unjudged: nothing called the candidate.
        Exception: what the tests raise.
    """
    exec(compile(source, "<tests>", "exec"), namespace)  # noqa: S102
    found = [value for value in namespace.values() if value is not candidate]
    if callable(namespace.get("check")):
        namespace["check"](candidate)
    if "unittest" in sys.modules:
        _run_unittest(found)
    if not calls():
        _run_functions(namespace, candidate)
    if not calls():
        raise Unjudged("the tests never call the function")


def _is_case(value: Any) -> bool:
    unittest = sys.modules.get("unittest")
    return unittest is not None and isinstance(value, type) and issubclass(value, unittest.TestCase)


def _run_unittest(found: list[Any]) -> None:
    import unittest

    for case in filter(_is_case, found):
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
        for _, trace in (*result.errors, *result.failures):
            kind, _, text = trace.strip().split("\n")[-1].partition(": ")
            raise Failed(kind, text)
        if result.unexpectedSuccesses:
            raise Failed("AssertionError", "a test that is expected to fail did not")


def _run_functions(namespace: dict[str, Any], candidate: Any) -> None:
    for name, value in list(namespace.items()):
        if value is candidate or getattr(value, "__module__", None) != namespace["__name__"]:
            continue
        if name.startswith("test") and inspect.isfunction(value):
            _call(value, candidate)
        elif name.startswith("Test") and isinstance(value, type) and not _is_case(value):
            for method in [m for m in vars(value) if m.startswith("test")]:
                instance = value()
                getattr(instance, "setup_method", lambda: None)()
                _call(getattr(instance, method), candidate)


def _call(test: Any, candidate: Any) -> None:
    wanted = [
        name
        for name, parameter in inspect.signature(test).parameters.items()
        if parameter.default is parameter.empty
    ]
    if wanted not in ([], ["candidate"]):
        raise Unjudged(f"the test {test.__name__} wants arguments: {', '.join(wanted)}")
    test(*[candidate for _ in wanted])


def _closed(source: str) -> str:
    """The source, with a body where it ends in the head of a function."""
    try:
        ast.parse(source)
    except SyntaxError:
        return source.rstrip() + "\n" + _HELPERS_ONLY
    return source


def _compile_open(source: str) -> Any:
    return compile(_closed(source), "<tests>", "exec")


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]
