"""What `compare --json` prints."""

from typing import Annotated, Literal

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.audit_document import Dataset
from hfbiasedit.documents.structures.shared import Digest, Interval, Model, Points


class ComparedReport(TypedDict):
    """One report; the differences to the baseline are missing in the baseline itself."""

    label: str
    model: Model
    patch: str | None
    setup: NotRequired[
        Annotated[list[str], Mark("What is unusual: quantised weights, a chat, a backend.")]
    ]
    fb_score: Points
    ci95: Interval
    lean: float
    amplification: float | None
    parity_gap: float
    gender_mass: float
    low_mass_share: float
    difference: NotRequired[float]
    difference_ci95: NotRequired[Interval]
    relative_change: NotRequired[float | None]


class ComparisonDocument(TypedDict):
    """A comparison, version 1."""

    schema: Literal["hfbiasedit.comparison/1"]
    dataset: Dataset
    prompts_digest: Digest
    baseline: str
    reports: list[ComparedReport]
    warnings: list[str]
