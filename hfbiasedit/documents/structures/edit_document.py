"""`edit.json`: what was edited, how, and what it changed."""

from typing import Annotated, Any, Literal

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark
from hfbiasedit.documents.structures.shared import (
    Anchor,
    BaseModel,
    Count,
    Digest,
    Interval,
    Model,
    Points,
    Positive,
    Quantized,
    Share,
    Some,
    Versions,
)


class Material(TypedDict):
    """The prompts an edit worked with."""

    config: str
    edit_prompts: Count
    dev_prompts: Count
    digest: Digest


class Budget(TypedDict):
    """How many items of the level were chosen."""

    requested: str | float
    items: Count
    of: Count


class LayerWeights(TypedDict):
    """Weights in one block; `layer` is its number, or text for what is outside the blocks."""

    layer: int | str
    weights: Count
    share: Share


class ModuleWeights(TypedDict):
    """Weights in one kind of module."""

    module: str
    weights: Count
    share: Share


class Weights(TypedDict):
    """Weights of a model, counted."""

    weights: Count
    share: Share
    share_of_projections: NotRequired[Positive]
    rows: Count
    tensors: Count
    by_layer: list[LayerWeights]
    by_module: list[ModuleWeights]


class Split(TypedDict):
    """FB-Scores of one split before and after; the difference is paired over professions."""

    prompts: Some
    professions: Some
    fb_before: Points
    ci95_before: Interval
    fb_after: Points
    ci95_after: Interval
    difference: float
    difference_ci95: Interval
    relative_change: float | None
    gender_mass_before: Positive
    gender_mass_after: Positive
    lean_before: float
    lean_after: float
    fb_shift: NotRequired[
        Annotated[Points, Mark("What the best constant shift of the edit split's logits gives.")]
    ]


class QuantizedCheck(Split):
    """The same of the original and the edited model, both quantised."""

    method: str
    split: Annotated[str, Mark("Of the prompts, which are those of the audits.")]
    quantized: Quantized


Watched = Annotated[
    float, Mark("Beyond noise, on as many windows as it took to say whether it is allowed.")
]
DevDistance = Annotated[
    Points,
    Mark(
        "What the search goes by: mean distance on dev prompts, those where the original hardly "
        "writes a gender counting less. The FB-Score of dev is in `splits`."
    ),
]


class BudgetPoint(TypedDict):
    """What one of nested budgets reaches within the allowed divergence."""

    weights: Some
    items: Some
    left_out_fb: NotRequired[
        Annotated[Points, Mark("Foretold for prompts of the edit split left out.")]
    ]
    dev_fb: DevDistance
    kl: Watched
    chosen: bool


class Divergence(TypedDict):
    """KL(original || edited) in nats per token, on windows of the anchor kept for watching.

    The mean is what lies beyond the noise; where `noise` is missing it is part of the mean.
    """

    mean: Positive
    noise: NotRequired[
        Annotated[Positive, Mark("Mean where a few selected weights move by a last digit.")]
    ]
    p99: Positive
    budget: Annotated[Positive, Mark("Largest mean that was allowed.")]


class Step(TypedDict):
    """The state of the solver after a step."""

    step: Count
    loss_bias: float
    loss_keep: float
    dev_fb: DevDistance
    kl: Watched
    keep: NotRequired[float]


class Chosen(TypedDict):
    """A constant of the edit that was chosen by looking at a model."""

    constant: str
    value: float
    chosen_on: Annotated[str, Mark("Models and prompts that were looked at.")]


class PatchFile(TypedDict):
    """The patch of the run."""

    file: str
    digest: Annotated[Digest, Mark("Of what the patch does, whatever its file looks like.")]
    bytes: Count
    sha256: NotRequired[Annotated[Digest, Mark("Of the file.")]]
    tensors: Some
    weights: Annotated[Some, Mark("Weights the file holds values for: of edited rows, all.")]


class Seconds(TypedDict):
    """Wall-clock seconds; `total` holds more than the sum of the others."""

    locate: Positive
    edit: Positive
    audit: Positive
    total: Positive


class ExampleSide(TypedDict):
    """What one model writes after the prompt."""

    share_female: Annotated[Share, Mark("The model's share of women on this prompt.")]
    gender_mass: Positive
    text: Annotated[str, Mark("The likeliest continuation, up to the end of the line.")]
    women: Annotated[Count, Mark("Of `draws` sampled continuations, those that write a woman.")]
    men: Count


class Example(TypedDict):
    """One prompt of the audits and what is written after it; both models get the same draws."""

    chosen: Annotated[
        Literal["closer", "farther"],
        Mark(
            "Of the prompts with at least the median gender mass, the one whose share came "
            "closest to the reference, or went farthest from it, by the edit."
        ),
    ]
    id: str
    profession: str
    language: str
    prompt: str
    share_female: Annotated[Share, Mark("In the reference.")]
    seed: int
    draws: Some
    before: ExampleSide
    after: ExampleSide


class TemplateFacts(TypedDict):
    """One template of the audits' prompts, and what of it the edit's prompts had.

    Lists hold the most frequent first.
    """

    template: str
    prompts: Some
    vocabularies: Annotated[list[str], Mark("What the values that it asks for are.")]
    languages: list[str]
    surface: Annotated[str, Mark("The kind of place; empty for a template of one's own.")]
    template_seen: bool
    vocabulary_seen: bool
    language_seen: bool
    surface_seen: bool


class Edit(TypedDict):
    """An edit, version 1."""

    schema: Literal["hfbiasedit.edit/1"]
    version: str
    versions: Versions
    created: str
    command: str
    model: Model
    base_model: NotRequired[BaseModel]
    reference: str
    dataset: Material
    granularity: str
    budget: Budget
    saliency: str
    options: dict[str, Any]
    seed: int
    threads: NotRequired[
        Annotated[
            int,
            Mark("Of the processor; sums depend on their number, and with them the edit."),
        ]
    ]
    selection: Annotated[Weights, Mark("Weights that the edit was allowed to change.")]
    edited: NotRequired[
        Annotated[Weights, Mark("Weights whose stored bits changed; what pages call edited.")]
    ]
    prompts_digest: NotRequired[Annotated[Digest, Mark("Of the prompts of both audits.")]]
    splits: dict[str, Split]
    quantized: NotRequired[list[QuantizedCheck]]
    templates: NotRequired[list[TemplateFacts]]
    examples: NotRequired[list[Example]]
    kl: Divergence
    history: list[Step]
    curve: NotRequired[list[BudgetPoint]]
    constants: NotRequired[list[Chosen]]
    steps: Count
    stopped: str
    anchor: Anchor
    patch: PatchFile
    seconds: Seconds
    peak_memory_bytes: Count
