"""What `leaderboard --json` prints, and what its page and its Parquet file are made from."""

from typing import Annotated, Literal

from typing_extensions import TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.audit_document import Baselines, Dataset
from hfbiasedit.documents.structures.shared import (
    Count,
    Digest,
    Interval,
    Mass,
    Model,
    Points,
    Positive,
    Share,
    Some,
)


class About(TypedDict):
    """`about.json` beside an audit: what a reader should know of the model, in one's own words."""

    schema: Literal["hfbiasedit.about/1"]
    name: Annotated[str, Mark("What to call the model, such as the name it is published under.")]
    note: Annotated[str, Mark("Where the weights came from, if not from there.")]


class Apart(TypedDict):
    """A paired difference of FB-Scores over professions, in points."""

    difference: float
    ci95: Interval
    clear: Annotated[bool, Mark("Whether the interval leaves zero out.")]


class BoardAbility(TypedDict):
    """Coding ability; null where it was not measured."""

    bits_per_byte: Annotated[Positive | None, Mark("Of code: log2 of the perplexity per byte.")]
    text: Annotated[Digest | None, Mark("Of that code: only equal texts are comparable.")]
    pass_at_1: Annotated[Share | None, Mark("On all of HumanEval.")]


class BoardEdit(TypedDict):
    """What an edit changed."""

    granularity: str
    weights: Annotated[Count, Mark("Edited weights.")]
    share: Annotated[Share, Mark("Of all weights.")]


class BoardPart(TypedDict):
    """The FB-Score of one group of occupations, surface or language of code."""

    name: str
    fb_score: Points
    ci95: Annotated[Interval | None, Mark("Null for surfaces of older audits.")]
    prompts: Some


class BoardRow(TypedDict):
    """One audit."""

    rank: Annotated[Some | None, Mark("Null where it is not comparable.")]
    reason: Annotated[str | None, Mark("Why it is not comparable.")]
    name: str
    note: str | None
    model: Model
    patch: str | None
    edit: Annotated[BoardEdit | None, Mark("Of that patch; null where edit.json is not there.")]
    base: Annotated[str | None, Mark("Name of the row of the unedited model, if it is here.")]
    change: Annotated[Apart | None, Mark("FB-Score minus the base's; negative is better.")]
    coin: Annotated[Apart, Mark("FB-Score minus that of a coin; negative is closer.")]
    fb_score: Points
    ci95: Interval
    lean: float
    lean_ci95: Interval
    amplification: float | None
    amplification_ci95: Interval | None
    parity_gap: float
    gender_mass: Mass
    low_mass_share: Share
    ahead: Annotated[Apart | None, Mark("FB-Score of the next row minus this one's.")]
    ability: BoardAbility
    by_group: list[BoardPart]
    by_surface: list[BoardPart]
    by_language: list[BoardPart]
    dataset: Dataset
    prompts_digest: Digest
    version: Annotated[str, Mark("Of hfbiasedit, that measured it.")]


class Leaderboard(TypedDict):
    """Many audits side by side, version 1; rows of the same prompts first, the best first."""

    schema: Literal["hfbiasedit.leaderboard/1"]
    version: str
    title: str
    dataset: Dataset
    prompts_digest: Digest
    baselines: Baselines
    rows: Annotated[list[BoardRow], Mark(fewest=1)]
    warnings: list[str]
