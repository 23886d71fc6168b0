"""Programming problems and completions in the layouts that other harnesses read and write."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.abilities.config import HUMANEVAL
from hfbiasedit.documents.structures.ability_document import Problems
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json
from hfbiasedit.texts.jsonl import read_objects, text_field

_HUMANEVAL_SHA256 = "e93a5d054fd5aafa4899ce63db78fa2d9aaef659c61ab433db2af657d4ccc2f9"
_TEXTS = ("task_id", "prompt", "entry_point", "test")


@dataclass(frozen=True)
class Problem:
    """A task in the layout of HumanEval: complete `prompt`, pass `test` of `entry_point`."""

    task_id: str
    prompt: str
    entry_point: str
    test: str
    canonical_solution: str | None = None


@dataclass(frozen=True)
class Sample:
    """One completion of a problem."""

    task_id: str
    completion: str


@dataclass(frozen=True)
class ProblemSet:
    """Problems and where they come from."""

    name: str
    problems: tuple[Problem, ...]

    @property
    def sha256(self) -> str:
        """Digest of everything that decides a verdict."""
        rows = [[p.task_id, p.prompt, p.entry_point, p.test] for p in self.problems]
        return hashlib.sha256(canonical_json(rows).encode("utf-8", "surrogatepass")).hexdigest()

    def to_dict(self) -> Problems:
        """What `ability.json` says about the problems."""
        return {"name": self.name, "sha256": self.sha256, "count": len(self.problems)}


def load_problems(path: Path | None = None, limit: int | None = None) -> ProblemSet:
    """Problems of a `.jsonl[.gz]` file, or the Hub's HumanEval.

    Raises:
        BiasEditError: the file or a line of it is malformed (the line is named), a task id occurs
            twice, or the Hub cannot serve the data set.
    """
    if path is None:
        rows: Iterable[tuple[str, Mapping[str, Any]]] = _from_hub()
        name = HUMANEVAL
    else:
        rows = ((f"{path}: line {number}", row) for number, row in read_objects(path))
        name = path.name
    problems: dict[str, Problem] = {}
    for where, row in rows:
        problem = _problem(dict(row), where)
        if problem.task_id in problems:
            raise BiasEditError(f"{where}: task_id {problem.task_id!r} occurs twice")
        problems[problem.task_id] = problem
    if not problems:
        raise BiasEditError(f"{path} holds no problems")
    every = ProblemSet(name, tuple(problems.values()))
    if every.sha256 == _HUMANEVAL_SHA256:  # the original file is the benchmark too
        every = ProblemSet(HUMANEVAL, every.problems)
    if limit is None or limit >= len(every.problems):
        return every
    # A part of the benchmark must not be taken for it.
    short = "HumanEval" if every.name == HUMANEVAL else every.name
    return ProblemSet(f"{short}, first {limit}", every.problems[:limit])


def _problem(row: dict[str, Any], where: str) -> Problem:
    task_id, prompt, entry_point, test = (text_field(row, name, where) for name in _TEXTS)
    if not entry_point.isidentifier():
        raise BiasEditError(f"{where}: entry_point {entry_point!r} is no name of a function")
    try:
        compile(test, where, "exec")
    except (SyntaxError, ValueError) as error:
        raise BiasEditError(f"{where}: the test is not Python: {error}") from error
    solution = row.get("canonical_solution")
    return Problem(
        task_id, prompt, entry_point, test, solution if isinstance(solution, str) else None
    )


def _from_hub() -> list[tuple[str, Mapping[str, Any]]]:
    from datasets import load_dataset

    try:
        rows = load_dataset(HUMANEVAL, split="test")
        return [(f"{HUMANEVAL} row {number}", row) for number, row in enumerate(rows)]
    except Exception as error:  # the loader raises its own, the Hub's and the formats' errors
        reason = str(error).strip().split("\n")[0]
        raise BiasEditError(
            f"cannot load {HUMANEVAL} ({reason}); go online, or give a file with --problems"
        ) from error


def load_samples(path: Path, problems: ProblemSet) -> list[Sample]:
    """Completions of a `.jsonl[.gz]` file with `task_id` and `completion` on every line.

    They come in the order of the problems.

    Raises:
        BiasEditError: a line is malformed or names an unknown problem, or there is none at all.
    """
    known = {problem.task_id: place for place, problem in enumerate(problems.problems)}
    samples = []
    for number, row in read_objects(path):
        where = f"{path}: line {number}"
        task_id = text_field(row, "task_id", where)
        if task_id not in known:
            raise BiasEditError(
                f"{where}: task_id {task_id!r} is not among the problems of {problems.name}"
            )
        samples.append(Sample(task_id, text_field(row, "completion", where)))
    if not samples:
        raise BiasEditError(f"{path} holds no completions to judge")
    return sorted(samples, key=lambda sample: known[sample.task_id])


def canonical_samples(problems: Sequence[Problem]) -> list[Sample]:
    """The reference solution of every problem, as a sample.

    Raises:
        BiasEditError: a problem has none.
    """
    samples = []
    for problem in problems:
        if problem.canonical_solution is None:
            raise BiasEditError(f"{problem.task_id} has no canonical_solution")
        samples.append(Sample(problem.task_id, problem.canonical_solution))
    return samples
