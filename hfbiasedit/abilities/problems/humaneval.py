"""pass@k on programming problems: generate, judge in isolation, estimate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from hfbiasedit.abilities.problems.reading import Problem, ProblemSet, Sample
from hfbiasedit.abilities.problems.screening import cannot_be_judged, case_of, judge_cases
from hfbiasedit.documents.structures.ability_document import (
    Draws,
    HumanEval,
    PassedChange,
    PassedSide,
)
from hfbiasedit.intervals import mean_interval, rate_interval
from hfbiasedit.isolation.judge import VERDICTS, Judgement

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
    distinct = list(dict.fromkeys(samples))
    cases = [case_of(by_id[sample.task_id], sample.completion) for sample in distinct]
    judged = dict(zip(distinct, judge_cases(cases, config, "judging"), strict=True))
    return [judged[sample] for sample in samples]


def summarise(
    samples: Sequence[Sample],
    judgements: Sequence[Judgement],
    config: AbilityConfig,
    without: Collection[str] = (),
) -> PassedSide:
    """pass@k with intervals, the count of each verdict, and the outcome of each problem.

    A k is reported when every problem has at least k samples. Samples of problems that count but
    that could not be judged themselves count as not passed.

    Args:
        samples, judgements: pairs. config: which k, and how intervals are drawn.
        without: ids of problems that do not count.
    """
    outcomes: dict[str, list[str]] = {}
    for sample, judgement in zip(samples, judgements, strict=True):
        if sample.task_id not in without:
            outcomes.setdefault(sample.task_id, []).append(judgement.verdict)
    counts = [(len(seen), seen.count("passed")) for seen in outcomes.values()]
    fewest = min(n for n, _ in counts)
    result: dict[str, float] = {}
    intervals = {}
    for k in sorted(set(config.k)):
        if k <= fewest:
            values = np.array([pass_at_k(n, c, k) for n, c in counts])
            result[f"pass@{k}"] = float(values.mean())
            intervals[f"pass@{k}"] = rate_interval(
                values, max(n for n, _ in counts), resamples=config.bootstrap, seed=config.seed
            )
    verdicts = Counter(verdict for seen in outcomes.values() for verdict in seen)
    summary = {
        **result,
        "ci95": intervals.get("pass@1"),
        "intervals": intervals,
        "n": len(outcomes),
        "samples": sum(verdicts.values()),
        "verdicts": {name: verdicts[name] for name in VERDICTS},
        "results": [
            {"task_id": task, "passed": seen.count("passed"), "verdicts": dict(Counter(seen))}
            for task, seen in outcomes.items()
        ],
    }
    return cast(PassedSide, summary)  # pass@10 and the like are not all known beforehand


def measure_humaneval(
    problems: ProblemSet,
    config: AbilityConfig,
    *,
    loaded: LoadedModel | None = None,
    samples: Sequence[Sample] | None = None,
    patch: Patch | None = None,
) -> tuple[HumanEval, list[Judgement]]:
    """pass@k of ready-made samples, or of what a model writes before and after a patch.

    Returns the document's part and all judgements (for what guarded them).
    """
    from hfbiasedit.abilities.problems.completions import generate_samples

    if samples is not None:
        written = {"before": list(samples)}
    else:
        assert loaded is not None
        written = {"before": generate_samples(loaded, problems, config, "before", patch)}
        if patch is not None:
            with patch.applied(loaded):
                written["after"] = generate_samples(loaded, problems, config, "after", patch)
    judged = {
        side: judge_samples(problems.problems, found, config) for side, found in written.items()
    }
    pairs = [p for side in written for p in zip(written[side], judged[side], strict=True)]
    out = cannot_be_judged(problems.problems, pairs, config)
    sides = {side: summarise(found, judged[side], config, out) for side, found in written.items()}
    result: HumanEval = {
        "problems": problems.to_dict(),
        "unjudged": [{"task_id": task, "reason": reason} for task, reason in out.items()],
        "before": sides["before"],
    }
    if samples is None:
        result["generation"] = _settings(config)
    if patch is not None:
        result["after"] = sides["after"]
        result["difference"] = _difference(sides["before"], sides["after"], config)
    return result, [judgement for side in judged.values() for judgement in side]


def _difference(before: PassedSide, after: PassedSide, config: AbilityConfig) -> PassedChange:
    """Change of pass@1, paired over problems."""
    pairs = zip(after["results"], before["results"], strict=True)
    values = np.array([(new["passed"] - old["passed"]) / config.n for new, old in pairs])
    interval = mean_interval(values, resamples=config.bootstrap, seed=config.seed)
    return {"pass@1": float(values.mean()), "ci95": interval}


def _settings(config: AbilityConfig) -> Draws:
    return {
        "n": config.n,
        "temperature": config.chosen_temperature,
        "top_p": config.top_p if config.chosen_temperature else 1.0,
        "max_new_tokens": config.max_new_tokens,
        "strip_prompt": config.strip_prompt,
        "seed": config.seed,
    }
