"""`.eval_results/*.yaml`: the scores of an edited model where the Hub looks for them."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.cards.metadata import DATASET_ID, audit_entry, eval_entries
from hfbiasedit.documents.reading import open_documents
from hfbiasedit.documents.runs import Run
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import write_text

FOLDER = ".eval_results"
AUDIT_FILE = f"{FOLDER}/codegenbias.yaml"


def with_audit(existing: str | None, audit: Audit, dataset_id: str = DATASET_ID) -> str:
    """The text of `AUDIT_FILE` with an entry for an audit; entries about other tasks stay.

    Raises:
        BiasEditError: what is there is no list of entries.
    """
    import yaml

    entry = audit_entry(audit, dataset_id)
    try:
        known = yaml.safe_load(existing or "") or []
    except yaml.YAMLError:
        known = None
    if not isinstance(known, list) or not all(isinstance(row, dict) for row in known):
        raise BiasEditError(f"{AUDIT_FILE} in the repository is no list of results; mend it first")
    others = [row for row in known if row.get("dataset") != entry["dataset"]]
    return yaml.safe_dump([*others, entry], sort_keys=False, allow_unicode=True)


def render_eval_results(run: Path, *, dataset_id: str = DATASET_ID) -> dict[str, str]:
    """File name (inside `.eval_results/`) to YAML text for a run directory.

    Raises:
        BiasEditError: `run` is not a run directory.
    """
    import yaml

    documents = open_documents(Run.open(run).path)
    assert documents.after is not None
    date = documents.edit["created"] if documents.edit else None
    entries = eval_entries(documents.before, documents.after, documents.ability, dataset_id, date)
    return {
        name: yaml.safe_dump(rows, sort_keys=False, allow_unicode=True)
        for name, rows in entries.items()
    }


def write_eval_results(
    run: Path, *, out: Path | None = None, dataset_id: str = DATASET_ID
) -> list[Path]:
    """Write the entries into `out/.eval_results/` (default: into the run); returns the paths."""
    folder = Path(out or run) / FOLDER
    paths = []
    for name, text in render_eval_results(run, dataset_id=dataset_id).items():
        write_text(folder / name, text)
        paths.append(folder / name)
    return paths
