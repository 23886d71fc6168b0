"""pass@k on programming problems: generate, judge in isolation, estimate."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from hfbiasedit import console
from hfbiasedit.abilities.problems import Problem, ProblemSet, Sample
from hfbiasedit.intervals import mean_interval, rate_interval
from hfbiasedit.isolation.judge import VERDICTS, Case, Judgement, Limits, judge, usable_guards

if TYPE_CHECKING:
    from hfbiasedit.abilities.config import AbilityConfig
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Unbiased estimate of pass@k: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, equation 1).

    Args:
        samples: completions that were judged, n. correct: those that passed, c. k: at most n.
    """
    if samples - correct < k:
        return 1.0
    terms = 1.0 - k / np.arange(samples - correct + 1, samples + 1)
    return float(1.0 - np.prod(terms))


def judge_samples(
    problems: Sequence[Problem],
    samples: Sequence[Sample],
    config: AbilityConfig,
) -> list[Judgement]:
    """Judge every sample, several at a time; equal programs are run once.

    Returns judgements in the order of the samples.

    Raises:
        BiasEditError: not even a correct program passes on this system.
    """
    by_id = {problem.task_id: problem for problem in problems}
    limits = Limits(cpu_seconds=config.timeout, memory_mib=config.memory_mib)
    guards = usable_guards(limits)

    def one(sample: Sample) -> Judgement:
        problem = by_id[sample.task_id]
        case = Case(
            problem.prompt + sample.completion, problem.entry_point, problem.test, problem.prompt
        )
        result = judge(case, limits, guards)
        bar.advance()
        return result

    distinct = list(dict.fromkeys(samples))
    with (
        console.progress("judging", len(distinct)) as bar,
        ThreadPoolExecutor(config.workers or os.cpu_count() or 1) as pool,
    ):
        judged = dict(zip(distinct, pool.map(one, distinct), strict=True))
    return [judged[sample] for sample in samples]


def summarise(
    samples: Sequence[Sample], judgements: Sequence[Judgement], config: AbilityConfig
) -> dict[str, Any]:
    """pass@k with intervals, the count of each verdict, and the outcome of each problem.

    A k is reported when every problem has at least k samples.
    """
    outcomes: dict[str, list[str]] = {}
    for sample, judgement in zip(samples, judgements, strict=True):
        outcomes.setdefault(sample.task_id, []).append(judgement.verdict)
    counts = [(len(seen), seen.count("passed")) for seen in outcomes.values()]
    fewest = min(n for n, _ in counts)
    result: dict[str, Any] = {}
    intervals = {}
    for k in sorted(set(config.k)):
        if k <= fewest:
            values = np.array([pass_at_k(n, c, k) for n, c in counts])
            result[f"pass@{k}"] = float(values.mean())
            intervals[f"pass@{k}"] = rate_interval(
                values, max(n for n, _ in counts), resamples=config.bootstrap, seed=config.seed
            )
    verdicts = Counter(judgement.verdict for judgement in judgements)
    return {
        **result,
        "ci95": intervals.get("pass@1"),
        "intervals": intervals,
        "n": len(outcomes),
        "samples": len(samples),
        "verdicts": {name: verdicts[name] for name in VERDICTS},
        "results": [
            {"task_id": task, "passed": seen.count("passed"), "verdicts": dict(Counter(seen))}
            for task, seen in outcomes.items()
        ],
    }


def measure_humaneval(
    problems: ProblemSet,
    config: AbilityConfig,
    *,
    loaded: LoadedModel | None = None,
    samples: Sequence[Sample] | None = None,
    patch: Patch | None = None,
) -> tuple[dict[str, Any], list[Judgement]]:
    """pass@k of ready-made samples, or of what a model writes before and after a patch.

    Returns the document's part and all judgements (for what guarded them).
    """
    from hfbiasedit.abilities.completions import generate_samples

    result: dict[str, Any] = {"problems": problems.to_dict()}
    if samples is not None:
        judgements = judge_samples(problems.problems, samples, config)
        result["before"] = summarise(samples, judgements, config)
        return result, judgements
    assert loaded is not None
    result["generation"] = _settings(config)
    written = {"before": generate_samples(loaded, problems, config, "before", patch)}
    if patch is not None:
        with patch.applied(loaded):
            written["after"] = generate_samples(loaded, problems, config, "after", patch)
    judged = {}
    for side, found in written.items():
        judged[side] = judge_samples(problems.problems, found, config)
        result[side] = summarise(found, judged[side], config)
    if patch is not None:
        result["difference"] = _difference(result, config)
    return result, [judgement for side in judged.values() for judgement in side]


def _difference(result: dict[str, Any], config: AbilityConfig) -> dict[str, Any]:
    """Change of pass@1, paired over problems."""
    pairs = zip(result["after"]["results"], result["before"]["results"], strict=True)
    values = np.array([(new["passed"] - old["passed"]) / config.n for new, old in pairs])
    interval = mean_interval(values, resamples=config.bootstrap, seed=config.seed)
    return {"pass@1": float(values.mean()), "ci95": interval}


def _settings(config: AbilityConfig) -> dict[str, Any]:
    return {
        "n": config.n,
        "temperature": config.chosen_temperature,
        "top_p": config.top_p if config.chosen_temperature else 1.0,
        "max_new_tokens": config.max_new_tokens,
        "strip_prompt": config.strip_prompt,
        "seed": config.seed,
    }
