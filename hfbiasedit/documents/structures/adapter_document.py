"""`adapter.json`: what became of a patch as an adapter, and how far the two differ."""

from typing import Annotated, Literal

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.shared import Commit, Digest, Positive, Share, Some


class Rounded(TypedDict):
    """The edited weights when the adapter is held in the checkpoint's dtype, as servers hold it."""

    equal: Annotated[Share, Mark("Edited weights that are the patch's, bit for bit, once merged.")]
    largest: Annotated[Positive, Mark("Largest distance of a weight from the patch's.")]


class LogitDifference(TypedDict):
    """Base model with the adapter (not merged) against the patched model, on code."""

    dtype: str
    tokens: Some
    largest: Positive
    mean: Positive
    top1_changed: Share


class Adapter(TypedDict):
    """An adapter, version 1."""

    schema: Literal["hfbiasedit.adapter/1"]
    version: str
    kind: Literal["lora", "shira"]
    patch: Annotated[Digest, Mark("Of the patch that it was made from.")]
    base_model: str | None
    base_revision: Commit | None
    dtype: Annotated[str, Mark("Of the edited tensors in the checkpoint.")]
    rank: Some
    vllm_rank: NotRequired[Annotated[Some, Mark("The --max-lora-rank that vLLM needs for it.")]]
    modules: Some
    weights: Annotated[Some, Mark("Weights whose stored bits change.")]
    parameters: Annotated[Some, Mark("Values that the adapter holds, zeros included.")]
    bytes: Some
    rounded: Rounded
    logits: NotRequired[list[LogitDifference]]
