"""The card of an edited model, or of the patch alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hfbiasedit.cards.examples import shown_examples
from hfbiasedit.cards.licence import Licence, chosen_licence, find_licence
from hfbiasedit.cards.metadata import DATASET_ID, base_name, card_metadata
from hfbiasedit.cards.seal import MARKER, opened_seal, seal
from hfbiasedit.documents import runs
from hfbiasedit.documents.counts import edited_weights
from hfbiasedit.documents.mixture import check_patch
from hfbiasedit.documents.movements import moved_to_men, moved_to_women, movements, worse
from hfbiasedit.documents.names import FIGURES
from hfbiasedit.documents.public import public_documents
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.documents.structures.adapter_document import Adapter
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.errors import UsageError
from hfbiasedit.files import write_text
from hfbiasedit.reports import facts, tables
from hfbiasedit.reports.concerns import concerns
from hfbiasedit.reports.environment import render
from hfbiasedit.reports.verdict import for_whom
from hfbiasedit.resources import DEMO

TEMPLATES = {
    "model": "model_card.md.jinja",
    "patch": "patch_card.md.jinja",
    "adapter": "adapter_card.md.jinja",
}
_MOVED = 10  # professions listed for each direction
_WORSE = 15  # professions listed as worse than before


def write_card(
    run: Path,
    *,
    what: str = "model",
    template: Path | None = None,
    license: str | None = None,
    repo_id: str | None = None,
    dataset_id: str = DATASET_ID,
) -> Path:
    """Write `README.md` into a run directory; arguments and errors as for `render_card`.

    What is there is replaced; `is_own_card` tells whether somebody wrote or changed it.
    """
    text = render_card(
        run,
        what=what,
        template=template,
        license=license,
        repo_id=repo_id,
        dataset_id=dataset_id,
    )
    path = Path(run) / runs.CARD
    write_text(path, text)
    return path


def render_card(
    run: Path,
    *,
    what: str = "model",
    template: Path | None = None,
    license: str | None = None,
    repo_id: str | None = None,
    dataset_id: str = DATASET_ID,
    adapter: Adapter | None = None,
) -> str:
    """The card of a run as Markdown with its YAML header.

    Args:
        run: A run directory.
        what: `model` for the whole edited model, `patch` for the patch alone, `adapter` for the
            patch as an adapter, which `adapter` describes.
        template: A jinja2 template instead of the one that ships; it sees the same names,
            and one that it misspells is an error.
        license: The Hub's identifier of the licence, or what the base model's card says; by
            default that of the base model, as far as its card can be read offline.
        repo_id: Where it will be published, for the examples.
        dataset_id: The Hub id of the prompts.

    Raises:
        BiasEditError: `run` is not a run directory, its files do not belong together, there is
            no such licence, or the template cannot be rendered.
    """
    if what not in TEMPLATES or (what == "adapter") != (adapter is not None):
        raise UsageError(f"there is no card for {what!r}; choose model or patch")
    documents = open_documents(runs.Run.open(run).path)
    assert documents.edit is not None  # a run has one
    check_patch(documents.directory, documents.edit)
    shown = public_documents(documents)
    base = _licence(documents.before["model"], shown.before["model"])
    licence = chosen_licence(license, base)
    context = _context(shown, what, licence, repo_id, dataset_id) | {"adapter": adapter}
    text = render(template, TEMPLATES[what], context, html=False)
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"  # optional parts leave gaps
    return seal(text, {"what": what, "license": license})


def is_own_card(path: Path) -> bool:
    """Whether a card is there that this program did not write, or that was changed since."""
    if not path.is_file():
        return False
    return opened_seal(path.read_text(encoding="utf-8", errors="replace")) is None


def card_to_publish(
    run: Path, *, what: str, repo_id: str, adapter: Adapter | None = None
) -> tuple[str, bool]:
    """The card for a repository: rendered for it, unless somebody wrote or changed `README.md`.

    A card made by `write_card` keeps the licence that it was given. One from a template
    without the marker, or edited since, is somebody's own and taken as it is.

    Returns:
        The text, and whether it is somebody's own.
    """
    path = Path(run) / runs.CARD
    if not path.is_file():
        return render_card(run, what=what, repo_id=repo_id, adapter=adapter), False
    written = path.read_text(encoding="utf-8")
    options = opened_seal(written)
    if options is None:
        return written, True
    given = options.get("license")
    text = render_card(run, what=what, license=given, repo_id=repo_id, adapter=adapter)
    return text, False


def check_licence(license: str, run: Path | None) -> None:
    """Refuse a licence that `render_card` would refuse, before anything is drawn.

    Args:
        license: as of `render_card`. run: None where it is not there yet, nor is its base known.

    Raises:
        BiasEditError: as for `render_card`.
    """
    base = None
    if run is not None:
        documents = open_documents(runs.Run.open(run).path)
        base = _licence(documents.before["model"], public_documents(documents).before["model"])
    chosen_licence(license, base)


def _licence(measured: Model, shown: Model) -> Licence | None:
    """The licence of the base model: of its repository, else of the directory it was in."""
    if measured["revision"] == shown["revision"]:
        return find_licence(measured["id"], measured["revision"])
    return find_licence(shown["id"], shown["revision"]) or find_licence(measured["id"], None)


def _context(
    documents: Documents, what: str, licence: Licence | None, repo_id: str | None, dataset_id: str
) -> dict[str, Any]:
    before, after, edit = documents.before, documents.after, documents.edit
    assert after is not None  # a run has both
    assert edit is not None
    base, commit = before["model"]["id"], before["model"]["revision"]
    on_hub = commit is not None
    moves, edited = movements(before, after), edited_weights(edit)
    name = base_name(before["model"])
    repository = repo_id or f"your-name/{base.rsplit('/', 1)[-1] if on_hub else 'model'}-biasedit"
    return {
        "metadata": card_metadata(what, before, after, documents.ability, licence, dataset_id),
        "marker": MARKER,
        "what": what,
        "name": name,
        "base": name,
        "base_on_hub": on_hub,
        # What a reader can name it by in a command; of a local model there is nothing.
        "base_argument": f"{base}@{commit}" if on_hub else base if base == DEMO else None,
        "repo_id": repository,
        "audit_command": facts.audit_command(before, repository),
        "licence": licence,
        "before": before,
        "after": after,
        "edit": edit,
        "edited": edited,
        "reference": before["dataset"]["reference"],
        "difference": facts.difference(edit, before, after),
        "verdict": facts.verdict(edit, before, after),
        "for_whom": for_whom(before, after),
        "concerns": concerns(before, after, moves, documents.ability),
        "costs": tables.headline_costs(documents.ability),
        "examples": shown_examples(edit),
        "splits": tables.splits(edit),
        "edit_facts": facts.edit_facts(edit),
        "method_facts": facts.method_facts(documents),
        "layers": _most_edited((r["layer"], r["weights"]) for r in edited["by_layer"]),
        "modules": _most_edited((r["module"], r["weights"]) for r in edited["by_module"]),
        "ability": tables.ability(documents.ability),
        "to_women": moved_to_women(moves, _MOVED),
        "to_men": moved_to_men(moves, _MOVED),
        "worse": worse(moves)[:_WORSE],
        "worse_count": len(worse(moves)),
        "professions": len(moves),
        "figures": _figures(documents.directory),
        "version": edit["version"],
        "year": edit["created"][:4],
    }


def _most_edited(rows: Iterable[tuple[object, int]]) -> list[tuple[str, int]]:
    """The layers or modules with the most edited weights, at most eight."""
    edited = [(str(name), weights) for name, weights in rows if weights]
    return sorted(edited, key=lambda row: -row[1])[:8]


def _figures(directory: Path) -> dict[str, dict[str, str]]:
    """The figures that are in the run, by name, with their path inside the repository."""
    return {
        name: {"path": f"{runs.FIGURES}/{name}.png", "title": title, "caption": caption}
        for name, (title, caption) in FIGURES.items()
        if (directory / runs.FIGURES / f"{name}.png").is_file()
    }
