"""`sweep.json`: what each granularity buys."""

from typing import Annotated, Any, Literal

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.edit_document import Divergence, Split, Weights
from hfbiasedit.documents.structures.shared import (
    Count,
    Digest,
    Model,
    Points,
    Positive,
    Share,
    Versions,
)


class SweepRow(TypedDict):
    """One edit under the common protocol."""

    name: str
    granularity: str
    saliency: str
    baseline: bool
    helped: bool
    weights: Annotated[Count, Mark("Weights whose stored bits the edit changed.")]
    share: Share
    selection: Annotated[Weights, Mark("Weights that the edit was allowed to change.")]
    edited: NotRequired[Annotated[Weights, Mark("Weights whose stored bits changed.")]]
    splits: dict[str, Split]
    kl: Divergence
    perplexity_change: float | None
    seconds: Positive
    patch_bytes: Count
    stopped: str


class Sweep(TypedDict):
    """A sweep, version 1."""

    schema: Literal["hfbiasedit.sweep/1"]
    version: str
    versions: Versions
    model: Model
    reference: str
    options: dict[str, Any]
    prompts_digest: NotRequired[Digest]
    fb_before: Points
    attempts: list[SweepRow]
