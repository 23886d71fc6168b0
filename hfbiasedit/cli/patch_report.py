"""What `hfbiasedit patch` prints: what a patch contains, and what was done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_LONGEST = 100  # characters of a fact of a patch's maker

if TYPE_CHECKING:
    from hfbiasedit.documents.structures.adapter_document import Adapter
    from hfbiasedit.patches.checkpoint import ApplyReport


def print_report(report: ApplyReport) -> None:
    """What applying or reverting wrote."""
    from hfbiasedit.console import line

    what = "reverted" if report.reverse else "applied"
    line(
        f"{what}: {report.changed:,} weights in {report.tensors} tensors, "
        f"{report.bytes_written:,} bytes written, {report.seconds:.2f} s -> {report.path}"
    )
    for file, how in report.files.items():
        if how != "copied":
            line(f"  {file}: {how}")


def print_summary(summary: dict[str, Any]) -> None:
    """The table of `patch show`."""
    from rich.table import Table
    from rich.text import Text

    from hfbiasedit.console import table

    facts = Table(show_header=False, box=None)
    facts.add_column("fact", no_wrap=True)
    facts.add_column("value", overflow="fold")  # a digest is worth nothing when it is cut
    names = {"changed": "edited weights", "weights": "values held"}
    for key in ("file", "file_bytes", "digest", "tensors", "changed", "weights", "rows", "entries"):
        value = summary[key]
        facts.add_row(
            names.get(key, key.replace("_", " ")),
            Text(f"{value:,}" if isinstance(value, int) else value),
        )
    if "share" in summary:
        facts.add_row("share of model", Text(f"{100 * summary['share']:.4g} %"))
    for key in ("dtypes", "layers", "modules"):
        values = (f"{name or 'outside of blocks'} ({n:,})" for name, n in summary[key].items())
        facts.add_row(f"{key} (edited weights)", Text(", ".join(values)))
    for key, value in summary["metadata"].items():
        facts.add_row(Text(_printable(key)), Text(_shortened(_printable(value))))
    table(facts)


def _shortened(value: str) -> str:
    """One line or two of the options of an edit, say, which `--json` prints in full."""
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"


def _printable(value: Any) -> str:
    from hfbiasedit.files import canonical_json

    text = value if isinstance(value, str) else canonical_json(value)
    text = " ".join(text.split())
    return text if text.isprintable() else ascii(text)


def print_adapter(document: Adapter) -> None:
    """What an adapter holds, how to serve it, and how far it is from the patch."""
    from rich.table import Table

    from hfbiasedit import console
    from hfbiasedit.documents import formatting as text

    rounded = document["rounded"]
    rows = {
        "adapter": f"{document['kind']}, rank {document['rank']}, {document['modules']} modules",
        "edited weights": text.count(document["weights"]),
        "bytes": text.count(document["bytes"]),
        f"merged in {document['dtype']}": f"{100 * rounded['equal']:.2f} % of the edited weights "
        f"are the patch's; largest distance {rounded['largest']:.2g}",
    }
    for row in document.get("logits", []):
        rows[f"logits in {row['dtype']}"] = (
            f"at most {row['largest']:.2g} from the patched model's, {row['mean']:.2g} on average; "
            f"likeliest token differs at {100 * row['top1_changed']:.1f} % of {row['tokens']}"
        )
    grid = Table(show_header=False, box=None)
    for name, value in rows.items():
        grid.add_row(name, value)
    console.table(grid)
