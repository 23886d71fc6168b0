"""What `edit --dry-run --json` prints."""

from typing import Annotated, Literal

from typing_extensions import TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.shared import Count, Model, Positive, Some


class ForecastBudget(TypedDict):
    """What one budget selects where rows or units are of average size; they may be more and
    smaller, or fewer and larger.
    """

    items: Some
    of: Some
    weights: Some
    coordinates: Some
    cut: Annotated[bool, Mark("Whether moves are cut to leading directions.")]


class ForecastPass(TypedDict):
    """Passes over prompts or windows; `tokens` of one of them, padding included."""

    stage: str
    what: str
    prompts: Count
    tokens: Count
    times: Some
    backward: bool
    operations: Annotated[Positive, Mark("Of all of them, in floating point.")]


class ForecastMemory(TypedDict):
    """Bytes; `host` and `device` are peaks (device 0: everything is in main memory)."""

    model: Count
    activations: Count
    hidden_states: Count
    sketches: Count
    rows: Annotated[Count, Mark("Of the linear models, in memory or in a temporary file.")]
    gram: Count
    host: Count
    device: Count
    disk: Count


class ForecastSeconds(TypedDict):
    """Predicted from a calibration of this device."""

    processor: Positive
    wall: Positive


class Forecast(TypedDict):
    """What an edit would cost, version 1: rounds as often as they may be, tries as is usual."""

    schema: Literal["hfbiasedit.forecast/1"]
    version: str
    model: Model
    granularity: str
    budget: str
    budgets: Annotated[list[ForecastBudget], Mark("For auto all that are tried.", fewest=1)]
    blocks: Some
    projections: Some
    passes: list[ForecastPass]
    memory: ForecastMemory
    seconds: ForecastSeconds
    fits: bool
    reason: Annotated[str | None, Mark("What does not fit, and what would.")]
