"""The examples of a run for a page: the end of a prompt and what is written after it."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.structures.edit_document import Edit, Example, ExampleSide

_LINES = 10  # of a prompt; its end is what the model answers to
_TAG = re.compile(r"[a-z0-9+#-]+")


@dataclass(frozen=True)
class ShownExample:
    """One example as text.

    Attributes:
        farther: whether it is the one that became worse.
        language: of the code block. cut: whether the prompt begins earlier.
        rows: title, likeliest continuation, share of women, and draws of the base, of the edited
            model and of the reference.
    """

    farther: bool
    profession: str
    language: str
    prompt: str
    cut: bool
    seed: int
    draws: int
    rows: list[tuple[str, str, str, str]]


def shown_examples(edit: Edit) -> list[ShownExample]:
    """What the run holds, the improved one first; nothing for runs of older versions."""
    return [_shown(example) for example in edit.get("examples", [])]


def _shown(example: Example) -> ShownExample:
    lines = example["prompt"].split("\n")
    language = example["language"].lower()
    return ShownExample(
        farther=example["chosen"] == "farther",
        profession=example["profession"],
        language=language if _TAG.fullmatch(language) else "text",
        prompt=textwrap.dedent("\n".join(lines[-_LINES:])),
        cut=len(lines) > _LINES,
        seed=example["seed"],
        draws=example["draws"],
        rows=[
            _row("before", example["before"]),
            _row("after", example["after"]),
            ("reference", "", text.percent(example["share_female"]), ""),
        ],
    )


def _row(title: str, side: ExampleSide) -> tuple[str, str, str, str]:
    drawn = f"{side['women']} women, {side['men']} men"
    return title, side["text"], text.percent(side["share_female"]), drawn
