"""`ability.json`: coding ability, with a patch before and after it."""

from typing import Annotated, Literal

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.shared import (
    Count,
    Digest,
    Interval,
    Model,
    Positive,
    Share,
    Some,
)

Correlation = Annotated[float, Mark(least=-1.000001, most=1.000001)]


class Text(TypedDict):
    """The text whose perplexity was measured."""

    name: str
    sha256: Digest
    documents: Count
    bytes: Count


class PerplexitySide(TypedDict):
    """Perplexity of one model."""

    token_perplexity: Positive
    byte_perplexity: Positive
    ci95: Interval
    tokens: Some
    bytes: NotRequired[Count]


class PerplexityChange(TypedDict):
    """How far the distributions before and after lie apart; KL(original || edited) in nats."""

    relative_change: float
    relative_change_ci95: Interval
    kl_mean: Positive
    kl_p99: Positive
    top1_changed: Share


class Perplexity(TypedDict):
    """Perplexity of code; with a patch, what `PerplexityChange` holds as well."""

    text: Text
    window: NotRequired[Some]
    stride: NotRequired[Some]
    before: PerplexitySide
    after: NotRequired[PerplexitySide]
    relative_change: NotRequired[float]
    relative_change_ci95: NotRequired[Interval]
    kl_mean: NotRequired[Positive]
    kl_p99: NotRequired[Positive]
    top1_changed: NotRequired[Share]


class Rate(TypedDict):
    """The share of completions that parse."""

    rate: Share
    ci95: Interval
    n: Some


class RateChange(TypedDict):
    """Change of that share, paired over stubs."""

    rate: float
    ci95: Interval


class SyntaxSide(TypedDict):
    """Completions of one model."""

    greedy: Rate
    sampled: Rate


class SyntaxChange(TypedDict):
    """The edited model against the original."""

    greedy: RateChange
    sampled: RateChange


class Syntax(TypedDict):
    """Function stubs that are completed to code that parses."""

    stubs: Some
    sha256: NotRequired[Annotated[Digest, Mark("Of the stubs.")]]
    before: SyntaxSide
    after: NotRequired[SyntaxSide]
    difference: NotRequired[SyntaxChange]


class Problems(TypedDict):
    """The programming problems."""

    name: str
    sha256: Digest
    count: Some


class Result(TypedDict):
    """One problem."""

    task_id: str
    passed: Count
    verdicts: dict[str, Count]


# By call and not as a class, because `pass@1` is no name; `pass@10` and so on come beside it.
PassedSide = TypedDict(
    "PassedSide",
    {
        "pass@1": NotRequired[Share],
        "ci95": Interval | None,
        "intervals": NotRequired[dict[str, Interval]],
        "n": Annotated[Some, Mark("Problems that were judged.")],
        "samples": NotRequired[Some],
        "verdicts": dict[str, Count],
        "results": NotRequired[list[Result]],
    },
)
PassedChange = TypedDict("PassedChange", {"pass@1": float, "ci95": Interval})


class Draws(TypedDict):
    """How completions were drawn."""

    n: Some
    temperature: Positive
    top_p: Share
    max_new_tokens: Some
    strip_prompt: bool
    seed: int


class Isolation(TypedDict):
    """Which guards held the judged programs, and which this system lacks."""

    guards: list[str]
    missing: list[str]


class Unjudged(TypedDict):
    """A problem that does not count, because nothing can tell right from wrong there."""

    task_id: str
    reason: str


class HumanEval(TypedDict):
    """pass@k on programming problems."""

    problems: Problems
    generation: NotRequired[Draws]
    unjudged: NotRequired[list[Unjudged]]
    before: PassedSide
    after: NotRequired[PassedSide]
    difference: NotRequired[PassedChange]
    isolation: NotRequired[Isolation]


class Agreement(TypedDict):
    """Means over professions; null where none is left or nothing varies."""

    share_female: Share | None
    ci95: Interval | None
    share_scored: Share | None
    share_reference: Share | None
    fb_written: Positive | None
    fb_scored: Positive | None
    mean_difference: float | None
    correlation: Correlation | None


class WrittenSide(Agreement):
    """Genders that one model wrote: `coverage` of completions, about `n` professions."""

    coverage: Share
    n: Count


class Written(TypedDict):
    """The second look: what a model writes about people, beside what its scores say."""

    prompts: Some
    professions: Some
    looks: Some
    digest: Digest
    before: WrittenSide
    after: NotRequired[WrittenSide]


class Ability(TypedDict):
    """Coding ability, version 1; one entry per task that was measured."""

    schema: Literal["hfbiasedit.ability/1"]
    version: str
    model: Annotated[
        Model | None,
        Mark("Null where ready-made samples were judged, by no known model."),
    ]
    patch: Annotated[str | None, Mark("Digest of the patch between before and after.")]
    chat: NotRequired[
        Annotated[bool, Mark("Whether completions were asked for through the chat template.")]
    ]
    ends: NotRequired[
        Annotated[
            list[Count],
            Mark(
                "Tokens that end a completion: the tokenizer's and those of "
                "generation_config.json, which the digest of a local model is not over."
            ),
        ]
    ]
    perplexity: NotRequired[Perplexity]
    syntax: NotRequired[Syntax]
    humaneval: NotRequired[HumanEval]
    generation: NotRequired[Written]
    seconds: Positive
