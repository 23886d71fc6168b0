"""The words that pages use for the keys of the documents."""

from __future__ import annotations

from hfbiasedit.levels import LEVELS

_SPLITS = {
    "all": "all prompts",
    "edit": "edit (seen while editing)",
    "dev": "dev (used to stop)",
    "test": "held-out (all three below)",
    "test_modifiers": "unseen modifiers",
    "test_templates": "unseen templates",
    "test_professions": "unseen professions",
    "test_combined": "several axes unseen at once",
}

_REFERENCES = {
    "bls-2022": "US Bureau of Labor Statistics, CPS table 11, 2022",
    "bls-2021": "US Bureau of Labor Statistics, CPS table 11, 2021",
    "parity": "parity: 50% women in every occupation",
}


_SURFACES = {
    "boolean": "flag",
    "call": "argument of a call",
    "class": "class and constructor",
    "code": "numeric code",
    "command": "command line",
    "compiled": "compiled language",
    "component": "user interface component",
    "config": "configuration file",
    "dataframe": "data frame",
    "enum": "enumeration",
    "javascript": "JavaScript object",
    "log": "log file",
    "message": "message or caption",
    "orm": "object-relational query",
    "prose": "comment or docstring",
    "query": "GraphQL",
    "record": "record or literal",
    "sql": "SQL",
    "table": "table in a document",
    "test_data": "test data",
    "types": "declared type",
}


def split_name(key: str) -> str:
    """What a split is, for a reader; unknown keys stay as they are."""
    return _SPLITS.get(key, key)


def surface_name(key: str) -> str:
    """The kind of place that a gender stands in, for a reader."""
    return _SURFACES.get(key, key)


def is_held_out(split: str) -> bool:
    """Whether an edit has seen no prompt of the split."""
    return split.startswith("test")


def reference_name(key: str) -> str:
    """Where factual shares come from; a file of the user's own keeps its name."""
    return _REFERENCES.get(key) or file_name(key)


def file_name(path: str) -> str:
    """A path without its folders, which are nobody's business on a page."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def granularity_name(key: str) -> str:
    """What a granularity edits."""
    return LEVELS[key].what if key in LEVELS else key


def model_name(model: str) -> str:
    """A model for display: Hub ids as they are, local directories without their parents."""
    if is_hub_id(model):
        return model
    return file_name(model)


def is_hub_id(model: str) -> bool:
    """Whether a model's id can be one on the Hub (`org/name` or a bare canonical `name`)."""
    from pathlib import Path

    parts = model.split("/")
    shape = (
        len(parts) == 2 and all(parts) and not model.startswith((".", "~")) and "\\" not in model
    )
    return shape and not Path(model).is_dir()


# Figure -> title and caption, in the order in which pages show them.
FIGURES = {
    "shares": (
        "Share of women: the model against the reference",
        "Each point is a profession; on the line the model writes women as often as the reference "
        "has them. The farthest are named, ranked by estimates that know how many prompts they "
        "rest on.",
    ),
    "arrows": (
        "The professions that the edit moved most",
        "Arrows lead from the model's share of women before the edit to that after it; black "
        "ticks are the reference. Their colour says whether the profession's FB, the mean "
        "distance over its prompts, fell or rose. Ranked by estimates that know how many prompts "
        "they rest on.",
    ),
    "splits": (
        "What carries over to prompts that the edit never saw",
        "FB-Scores on prompts that the edit saw and on those with unseen modifiers, templates or "
        "professions, with 95% intervals.",
    ),
    "groups": (
        "FB-Score by group of occupations",
        "The highest first, with 95% intervals over professions.",
    ),
    "templates": (
        "FB-Score by template",
        "The highest first, sixteen at most, with 95% intervals over professions.",
    ),
    "histogram": (
        "Distance of single prompts from the reference",
        "FB of each prompt in steps of five points; no adjective counts as neutral.",
    ),
    "heatmap": (
        "FB-Score by template and group of occupations",
        "Each cell is the FB-Score of the prompts of one template about one group, with their "
        "number below it; grey cells rest on fewer than five prompts.",
    ),
    "weights": (
        "Where the edited weights are",
        "Number of edited weights in each layer (above) and kind of module (below).",
    ),
    "budgets": (
        "What other budgets would have reached",
        "Distance from the reference on dev prompts (those that hardly show a gender count less) "
        "of nested selections, each solved at the allowed divergence; "
        "the ring marks the one that the edit took.",
    ),
}
