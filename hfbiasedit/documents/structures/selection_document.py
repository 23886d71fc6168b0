"""`selection.json`: which weights an edit may change."""

from typing import Annotated, Any, Literal

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.shared import Count, Digest, Some

Kind = Literal["whole", "rows", "entries"]


class SliceDocument(TypedDict):
    """Part of one tensor; `index` is zlib in base64 of int64 differences, missing for `whole`."""

    kind: Kind
    axis: Annotated[int, Mark(least=0, most=1)]
    shape: Annotated[list[Some], Mark(fewest=1)]
    count: NotRequired[Count]
    index: NotRequired[str]


class SelectionDocument(TypedDict):
    """A selection, version 1."""

    schema: Literal["hfbiasedit.selection/1"]
    granularity: str
    model: Annotated[Digest, Mark("Of the names and shapes of all parameters.")]
    items: Count
    of: Count
    weights: NotRequired[Count]
    origin: NotRequired[dict[str, Any]]
    slices: dict[str, SliceDocument]
