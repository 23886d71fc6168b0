"""The dataset card: metadata that `datasets` and the Hub read, and the text people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hfbiasedit.codegenbias import splits
from hfbiasedit.codegenbias.configs import VERSION
from hfbiasedit.codegenbias.modifiers import load_modifiers
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.records import COLUMNS, TEST_SPLITS
from hfbiasedit.codegenbias.references import BLS_YEARS, BUILTIN_REFERENCES, DEFAULT_REFERENCE
from hfbiasedit.codegenbias.templates import CORE_TEMPLATE, Template, load_templates
from hfbiasedit.codegenbias.vocabulary import name_of
from hfbiasedit.resources import template_path
from hfbiasedit.versions import __version__

LICENSE = "cc-by-4.0"


def render_dataset_card(
    counts: Mapping[str, Mapping[str, int]],
    *,
    name: str,
    format: str = "parquet",
    reference: str = DEFAULT_REFERENCE,
    version: int = VERSION,
) -> str:
    """The text of `README.md` for an exported dataset.

    Args:
        counts: prompts by configuration and split, in the order to show them.
        name: the directory or repository, as `load_dataset` is told in the examples.
        format: the suffix of the data files.
        reference: the name of the reference that the shares come from.
        version: of CodeGenBias; whose templates the card lists.
    """
    templates = load_templates(version)
    return _render(
        "dataset_card.md.jinja",
        _metadata(counts, format),
        counts,
        seed=splits.SEED,
        format=format,
        reference=reference,
        builtin_references=BUILTIN_REFERENCES,
        year=BLS_YEARS.get(reference),
        name=name,
        held_out=[split for split in next(iter(counts.values())) if split in TEST_SPLITS],
        data_version=version,
        roles=Counter(row.role for row in templates),
        templates=templates,
        variants=sum(len(row.variants) for row in templates),
        vocabulary=_vocabulary,
        core_template=CORE_TEMPLATE,
        surfaces=list(dict.fromkeys(row.surface for row in templates)),
        polarities=_polarities(),
        groups=_groups(),
        professions=len(load_professions()),
        titles=len({row.occupation for row in load_professions()}),
        held_professions=len(splits.held_out_professions()),
        held_modifiers=splits.held_out_modifiers(),
    )


def render_own_card(
    counts: Mapping[str, Mapping[str, int]],
    references: Mapping[str, int],
    *,
    name: str,
    format: str = "parquet",
) -> str:
    """The text of `README.md` for prompts of one's own: it claims neither licence nor source.

    Args:
        counts: prompts by configuration and split.
        references: prompts by the reference that their shares come from.
        name: the directory or repository. format: the suffix of the data files.
    """
    return _render(
        "own_prompts_card.md.jinja",
        {"pretty_name": name, "tags": ["code", "bias", "hfbiasedit"]} | _structure(counts, format),
        counts,
        format=format,
        name=name,
        references=references,
        sources={reference: _source(reference) for reference in references},
    )


def _source(reference: str) -> str:
    """Where the shares of a reference come from, as far as is known here."""
    if reference in BLS_YEARS:
        return (
            "U.S. Bureau of Labor Statistics, Current Population Survey, table 11, "
            f"{BLS_YEARS[reference]} (`{reference}`)"
        )
    if reference in BUILTIN_REFERENCES:
        return f"an even split (`{reference}`)"
    return "given with the prompts" if reference == "custom" else f"`{reference}`"


def _render(
    template: str, metadata: dict[str, Any], counts: Mapping[str, Mapping[str, int]], **values: Any
) -> str:
    import jinja2
    import yaml

    environment = jinja2.Environment(  # noqa: S701 (Markdown: nothing to escape)
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.from_string(template_path(template).read_text(encoding="utf-8")).render(
        metadata=yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True),
        version=__version__,
        counts=counts,
        first=next(iter(counts)),
        split_names=list(dict.fromkeys(name for row in counts.values() for name in row)),
        **values,
    )
    return text.strip() + "\n"


def _vocabulary(template: Template) -> str:
    """The vocabularies of a template's spellings, joined."""
    names = (name_of(variant.male, variant.female) for variant in template.variants)
    return ", ".join(dict.fromkeys(names))


def _polarities() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in load_modifiers():
        found.setdefault(row.polarity, []).append(row.modifier or "(none)")
    return found


def _groups() -> dict[str, int]:
    found: dict[str, int] = {}
    for row in load_professions():
        found[row.group] = found.get(row.group, 0) + 1
    return found


def _metadata(counts: Mapping[str, Mapping[str, int]], format: str) -> dict[str, Any]:
    """The YAML block of the card of CodeGenBias."""
    return {
        "pretty_name": "CodeGenBias",
        "language": ["en"],
        "license": LICENSE,
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original"],
        "tags": ["code", "bias", "gender-bias", "fairness", "evaluation", "hfbiasedit"],
        **_structure(counts, format),
    }


def _structure(counts: Mapping[str, Mapping[str, int]], format: str) -> dict[str, Any]:
    """What `datasets` takes files, splits and column types from."""
    largest = sum(max(counts.values(), key=lambda row: sum(row.values())).values())
    return {
        "size_categories": [_size_category(largest)],
        "configs": [_config(name, row, format) for name, row in counts.items()],
        "dataset_info": [
            {"config_name": name, "features": [_feature(column, format) for column in COLUMNS]}
            for name in counts
        ],
    }


def _config(name: str, row: Mapping[str, int], format: str) -> dict[str, Any]:
    files = [{"split": split, "path": f"data/{name}/{split}.{format}"} for split in row]
    config: dict[str, Any] = {"config_name": name, "data_files": files}
    if name.partition("@")[0] == "quick":
        config["default"] = True
    if format == "csv":
        # The empty modifier is an empty text, not a missing value.
        config["keep_default_na"] = False
    return config


def _feature(column: str, format: str) -> dict[str, str]:
    if column in ("male", "female") and format != "csv":
        return {"name": column, "list": "string"}
    return {"name": column, "dtype": "float64" if column == "share_female" else "string"}


def _size_category(prompts: int) -> str:
    """The Hub's size class of a number of rows."""
    if prompts < 1000:
        return "n<1K"
    if prompts < 10_000:
        return "1K<n<10K"
    return "10K<n<100K" if prompts < 100_000 else "100K<n<1M"
