"""Problems that cannot be judged: their own solution fails, or functions of nonsense pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfbiasedit import console
from hfbiasedit.abilities.problems.reading import Problem, Sample
from hfbiasedit.errors import BiasEditError
from hfbiasedit.isolation.judge import Case, Judgement, Limits, usable_guards
from hfbiasedit.isolation.pool import judge_all

if TYPE_CHECKING:
    from hfbiasedit.abilities.config import AbilityConfig

# Answers that no test can want both: a function that nobody else has, and nothing.
_NONSENSE = (
    "def {name}(*_, **__): return lambda *_, **__: None\n",
    "def {name}(*_, **__): return None\n",
)


def case_of(problem: Problem, completion: str) -> Case:
    """The program of a completion, to be judged by its problem's tests."""
    return Case(problem.prompt + completion, problem.entry_point, problem.test, problem.prompt)


def judge_cases(cases: Sequence[Case], config: AbilityConfig, title: str) -> list[Judgement]:
    """Judge programs within the limits of `config`.

    Raises:
        BiasEditError: not even a correct program passes on this system.
    """
    limits = Limits(cpu_seconds=config.timeout, memory_mib=config.memory_mib)
    guards = usable_guards(limits)
    with console.progress(title, len(cases)) as bar:
        return judge_all(cases, limits, guards, workers=config.workers, on_done=bar.advance)


def cannot_be_judged(
    problems: Sequence[Problem],
    judged: Sequence[tuple[Sample, Judgement]],
    config: AbilityConfig,
) -> dict[str, str]:
    """Problems whose verdicts say nothing about a completion, with the reason; a warning tells.

    A problem that nothing has passed is tried with its `canonical_solution`; one that something
    has passed is tried with functions of nonsense, one of which must fail. Without a solution, a
    problem is out when none of its completions could be judged.

    Args:
        problems: all of them. judged: every sample of every side with its judgement.
        config: limits and workers.

    Raises:
        BiasEditError: no problem is left.
    """
    seen: dict[str, list[Judgement]] = defaultdict(list)
    for sample, judgement in judged:
        seen[sample.task_id].append(judgement)
    passed = {task for task, found in seen.items() if any(j.verdict == "passed" for j in found)}
    tried = [problem for problem in problems if problem.task_id in seen]
    out = _own_solution_fails([p for p in tried if p.task_id not in passed], seen, config)
    out |= _nonsense_passes([p for p in tried if p.task_id in passed], config)
    _warn(out, len(tried), [j for task, found in seen.items() if task not in out for j in found])
    return {problem.task_id: out[problem.task_id] for problem in tried if problem.task_id in out}


def _own_solution_fails(
    problems: Sequence[Problem], seen: dict[str, list[Judgement]], config: AbilityConfig
) -> dict[str, str]:
    out = {}
    solved = []
    for problem in problems:
        found = seen[problem.task_id]
        if problem.canonical_solution is not None:
            solved.append(problem)
        elif all(judgement.verdict == "unjudged" for judgement in found):
            out[problem.task_id] = found[0].detail
    cases = [case_of(problem, str(problem.canonical_solution)) for problem in solved]
    judged = judge_cases(cases, config, "reference solutions") if cases else []
    for problem, own in zip(solved, judged, strict=True):
        if own.verdict == "unjudged":
            out[problem.task_id] = own.detail
        elif own.verdict != "passed":
            out[problem.task_id] = f"its own solution does not pass: {own.verdict} ({own.detail})"
    return out


def _nonsense_passes(problems: Sequence[Problem], config: AbilityConfig) -> dict[str, str]:
    left = list(problems)
    for program in _NONSENSE:
        if left:
            cases = [
                Case(program.format(name=p.entry_point), p.entry_point, p.test, p.prompt)
                for p in left
            ]
            judged = judge_cases(cases, config, "wrong solutions")
            left = [p for p, found in zip(left, judged, strict=True) if found.verdict == "passed"]
    return {problem.task_id: "its tests pass functions of nonsense" for problem in left}


def _warn(out: dict[str, str], tried: int, counted: Sequence[Judgement]) -> None:
    if out:
        task, reason = next(iter(out.items()))
        text = f"{len(out)} of {tried} problems cannot be judged (first: {task}: {reason})"
        if len(out) == tried:
            raise BiasEditError(text)
        console.warn(f"{text}; they do not count")
    lost = [judgement for judgement in counted if judgement.verdict == "unjudged"]
    if lost:
        console.warn(
            f"{len(lost)} completions could not be judged and count as not passed "
            f"(first: {lost[0].detail})"
        )
