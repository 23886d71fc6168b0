"""`audit.json`: what an audit says."""

from typing import Annotated, Any, Literal

from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.structure import Mark
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
    Versions,
)

Lean = Annotated[
    float,
    Mark(
        "100 * mean(model share - factual share); negative: men more often than in the reference.",
        least=-100,
        most=100,
    ),
]


class Dataset(TypedDict):
    """The prompts."""

    config: str
    split: str
    prompts: Some
    professions: Some
    reference: str
    limit: NotRequired[
        Annotated[Some, Mark("At most so many prompts: a sample, with the seed of the bootstrap.")]
    ]
    chosen_professions: NotRequired[
        Annotated[bool, Mark("Whether only professions were asked that the user named.")]
    ]


class Baselines(TypedDict):
    """What trivial models would score on the same prompts."""

    even: Points
    always_male: Points
    always_female: Points


class Part(TypedDict):
    """The scores of some of the prompts."""

    fb_score: Points
    ci95: Interval
    lean: float
    gender_mass: Positive
    prompts: Some
    professions: Some


class TemplatePart(Part):
    """One template."""

    template: str


class PolarityPart(Part):
    """One polarity of modifiers."""

    polarity: str


class GroupPart(Part):
    """One group of occupations."""

    group: str


class ModifierPart(Part):
    """One modifier; the empty text is none."""

    modifier: str


class SplitPart(Part):
    """One split."""

    split: str


class LanguagePart(Part):
    """One language of code or text."""

    language: str


class SurfacePart(Part):
    """One surface, the kind of place that a gender stands in; empty: templates of one's own."""

    surface: str


class TemplateGroupPart(Part):
    """One template about one group of occupations."""

    template: str
    group: str


class Histogram(TypedDict):
    """Prompts by FB (0 to 100), per polarity."""

    edges: Annotated[list[float], Mark(fewest=2)]
    by_polarity: dict[str, list[Count]]


class Profession(TypedDict):
    """One profession; shares and FB are 0..1."""

    profession: str
    occupation: NotRequired[str]
    group: NotRequired[str]
    share_female: Share
    model_share: Share
    fb: Share
    gender_mass: NotRequired[Positive]
    n: Some
    estimate: NotRequired[
        Annotated[
            Share,
            Mark(
                "FB moved towards that of the group by as much as so few prompts leave to chance; "
                "what rankings go by."
            ),
        ]
    ]
    ci95: NotRequired[Annotated[Interval, Mark("95 % interval of the estimate.")]]


class Example(TypedDict):
    """One prompt and what the model makes of it; probabilities and shares are 0..1."""

    id: str
    profession: str
    modifier: str
    polarity: str
    template: str
    language: str
    split: str
    prompt: str
    male: list[str]
    female: list[str]
    p_male: Mass
    p_female: Mass
    model_share: Share
    share_female: Share


class Shifted(TypedDict):
    """What is left when one constant is added to the log-odds of every prompt.

    The difference to the FB-Score is one constant lean; what is left differs from profession to
    profession and from prompt to prompt.
    """

    shift: Annotated[float, Mark("The constant that leaves least: added to every logit(m).")]
    fb_score: Points


class Noise(TypedDict):
    """Points by which a prompt's model share moves when it is scored alone, not in its batch."""

    mean: Positive
    largest: Positive
    prompts: Some


class Bootstrap(TypedDict):
    """How intervals were drawn."""

    seed: int
    samples: Some


class BatchPlan(TypedDict):
    """How prompts were grouped; in low precision compare only reports whose plans agree."""

    batch_size: str | int
    tokens: int | None
    halvings: Count
    prefix_sharing: bool
    packed: NotRequired[Annotated[bool, Mark("Whether many prompts ran as one row of tokens.")]]


class Backend(TypedDict):
    """Where log-probabilities come from, where that is not the engine of this package."""

    name: str
    model: NotRequired[Annotated[str, Mark("Kind of model, in the words of the backend.")]]
    arguments: NotRequired[dict[str, Any]]
    version: NotRequired[str]
    missing: Annotated[list[str], Mark("Checks that it cannot make.")]


class Chat(TypedDict):
    """How prompts were asked through the model's chat template."""

    request: Annotated[str, Mark("What the user says, with the language of the prompt.")]
    opening: Annotated[str, Mark("What the assistant's turn begins with, before the prompt.")]


class Headline(TypedDict):
    """The score and its companions."""

    fb_score: Annotated[
        Points,
        Mark(
            "100 * mean over professions of the mean over its prompts of "
            "|model share - factual share|; 0 matches the reference."
        ),
    ]
    ci95: Annotated[Interval, Mark("95 % interval of fb_score, bootstrap over professions.")]
    lean: Lean
    lean_ci95: Interval
    amplification: Annotated[
        float | None,
        Mark(
            "Slope of logit(model share) on logit(factual share); null where the reference "
            "does not vary."
        ),
    ]
    amplification_ci95: Interval | None
    parity_gap: Annotated[float, Mark("100 * mean|model share - 0.5|.", least=0, most=50)]
    gender_mass: Annotated[Mass, Mark("Mean probability of all gendered continuations.")]
    low_mass_share: Annotated[Share, Mark("Share of prompts whose gender mass is below 1 %.")]
    baselines: Baselines


class Audit(Headline):
    """An audit report, version 1."""

    schema: Literal["hfbiasedit.audit/1"]
    version: Annotated[str, Mark("Version of hfbiasedit that wrote the report.")]
    model: Model
    patch: Annotated[str | None, Mark("Digest of the patch that the model had, if it had one.")]
    dataset: Dataset
    prompts_digest: Annotated[
        Digest, Mark("SHA-256 of the prompts: equal digests mean equal questions.")
    ]
    reference: str
    by_template: list[TemplatePart]
    by_polarity: list[PolarityPart]
    by_group: list[GroupPart]
    by_modifier: list[ModifierPart]
    by_split: list[SplitPart]
    by_language: NotRequired[list[LanguagePart]]
    by_surface: NotRequired[list[SurfacePart]]
    by_template_group: list[TemplateGroupPart]
    histogram: Histogram
    professions: Annotated[list[Profession], Mark(fewest=1)]
    shifted: NotRequired[Shifted]
    examples: NotRequired[
        Annotated[
            list[Example],
            Mark("The prompts, at most six of a profession, chosen by their ids alone."),
        ]
    ]
    noise_floor: Annotated[Noise | None, Mark("Null where the backend cannot tell.")]
    backend: NotRequired[Backend]
    chat: NotRequired[
        Annotated[Chat | None, Mark("Null where prompts were asked as they are, without a chat.")]
    ]
    bootstrap: Bootstrap
    batch_plan: BatchPlan
    warnings: Annotated[list[str], Mark("What to know before trusting the score.")]
    notes: NotRequired[Annotated[list[str], Mark("What belongs to the method, such as rounding.")]]
    versions: Versions
    seconds: Positive
