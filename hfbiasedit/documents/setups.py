"""How a model was measured, in a few words: what tells two reports of one model apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHAT = "through the chat template"


def setup_words(report: Mapping[str, Any]) -> list[str]:
    """Whatever is not as usual: quantised weights, a chat template, another backend.

    Args:
        report: an audit, or a report on ability.
    """
    words = []
    if quantization := (report["model"] or {}).get("quantization"):
        words.append(str(quantization))
    elif "gguf" in (report["model"] or {}):
        words.append("gguf")
    if report.get("chat"):
        words.append(CHAT)
    if backend := report.get("backend"):
        kind = f" {backend['model']}" if "model" in backend else ""
        words.append(f"{backend['name']}{kind}")
    return words


def setup_label(report: Mapping[str, Any]) -> str:
    """The same as the end of a title, such as `, int4`; nothing where all is as usual."""
    return "".join(f", {word}" for word in setup_words(report))


def setup_warnings(reports: list[Mapping[str, Any]]) -> list[str]:
    """What differs between reports besides their models, and is part of every difference."""
    found = []
    ways = {bool(report.get("chat")) for report in reports}
    if len(ways) > 1:
        found.append(
            "some were asked through a chat template and some without; that is part of the "
            "differences"
        )
    weights = {report["model"].get("quantization") or "unquantised" for report in reports}
    if len(weights) > 1:
        found.append(
            f"the weights are not quantised alike ({', '.join(sorted(map(str, weights)))}); "
            "rounding them is part of the differences"
        )
    backends = {(report.get("backend") or {}).get("name", "engine") for report in reports}
    if len(backends) > 1:
        found.append(
            f"log-probabilities come from different backends ({', '.join(sorted(backends))})"
        )
    return found
