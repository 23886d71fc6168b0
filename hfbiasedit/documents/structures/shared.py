"""What several documents have in common."""

from typing import Annotated

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark

Interval = Annotated[list[float], Mark(length=2)]
Share = Annotated[float, Mark(least=0, most=1)]
Points = Annotated[float, Mark(least=0, most=100)]
Positive = Annotated[float, Mark(least=0)]
Count = Annotated[int, Mark(least=0)]
Some = Annotated[int, Mark(least=1)]
Digest = Annotated[str, Mark(pattern="^[0-9a-f]{64}$")]
Commit = Annotated[
    str, Mark("Resolved commit; null for a local directory.", pattern="^[0-9a-f]{40}$")
]
Versions = dict[str, str]
# Sums of probabilities in floating point may exceed 1 by a little.
Mass = Annotated[float, Mark(least=0, most=1.000001)]


class Quantized(TypedDict):
    """How weights were rounded in memory, after loading: symmetric, to the nearest."""

    method: str
    by: Annotated[str, Mark("What rounded them, with its version.")]
    groups: Annotated[
        dict[str, Some],
        Mark("How many weights of a row share a scale, or `row`, to the number of matrices."),
    ]
    matrices: Annotated[Some, Mark("Projection matrices of the blocks; all else is as loaded.")]
    weights: Some


class Gguf(TypedDict):
    """The GGUF file that weights were read from."""

    file: str
    weights: Annotated[dict[str, Some], Mark("Type of storage to the number of weights.")]
    tokenizer: Annotated[str, Mark("Whose tokenizer was used: the file's own or the model's.")]


class Model(TypedDict):
    """The model that was measured or edited."""

    id: str
    revision: Commit | None
    dtype: str
    digest: NotRequired[
        Annotated[
            str,
            Mark(
                "Of the checkpoint it was loaded from: repository@commit, or sha256: over its "
                "weight, configuration and tokenizer files; tensors: over the weights of a model "
                "that was in memory only."
            ),
        ]
    ]
    parameters: Some
    architecture: NotRequired[str]
    device: NotRequired[str]
    quantization: NotRequired[str | None]
    quantized: NotRequired[Quantized]
    gguf: NotRequired[Gguf]


class BaseModel(TypedDict):
    """Where the base model of a run from a local directory is on the Hub."""

    id: str
    revision: Annotated[str, Mark("Resolved commit.", pattern="^[0-9a-f]{40}$")]
    tensors: Annotated[Some, Mark("Edited tensors whose SHA-256 before the edit is that there.")]


class Anchor(TypedDict):
    """General code that an edit left alone."""

    name: str
    sha256: Digest
