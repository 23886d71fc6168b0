"""What `locate --json` prints."""

from typing import Literal

from typing_extensions import TypedDict

from hfbiasedit.documents.structures.shared import Count, Positive


class BlockScore(TypedDict):
    """One block; scores are sums over the weights of the item."""

    block: Count
    score: float
    may_be_edited: bool


class MatrixScore(TypedDict):
    """One matrix."""

    tensor: str
    block: Count
    module: str
    score: float


class RowScore(TypedDict):
    """One row; `part` names the piece of a fused matrix."""

    tensor: str
    block: Count
    module: str
    part: str
    row: Count
    score: float


class LocationDocument(TypedDict):
    """The top of a ranking, version 1."""

    schema: Literal["hfbiasedit.location/1"]
    saliency: str
    seconds: Positive
    blocks: list[BlockScore]
    matrices: list[MatrixScore]
    rows: list[RowScore]
