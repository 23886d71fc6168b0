"""The documents as strangers may see them: own files and folders by their names alone.

What the run directory holds stays as it is, so that a command there can be pasted; pages and what
is published are made from these copies.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from hfbiasedit.documents.names import file_name
from hfbiasedit.documents.reading import Documents
from hfbiasedit.documents.structures.shared import BaseModel, Model
from hfbiasedit.resources import DEMO

# Options of an edit that always name files, on the command line and among the `options`.
_FILES = ("out", "prompts", "professions", "selection", "reference")
# Options that name a file, a folder or a dataset of the Hub.
_SOURCES = ("anchor",)
_ENDINGS = (".csv", ".gz", ".json", ".jsonl", ".parquet", ".py", ".txt")

T = TypeVar("T", bound=Mapping[str, Any])


def command_line(arguments: Sequence[str]) -> str:
    """A command line as one text that a shell reads back to the same words."""
    return shlex.join(["hfbiasedit", *arguments])


def public_documents(documents: Documents) -> Documents:
    """Copies of all documents of a directory, without paths.

    A local model whose place on the Hub was checked goes by its name there.
    """
    after, edit, ability = documents.after, documents.edit, documents.ability
    model = documents.before["model"]
    base = edit.get("base_model") if edit is not None else None
    if edit is not None:
        edit = public(edit, model, base)
        edit["command"] = public_command(edit["command"], model, base)
    return replace(
        documents,
        before=public(documents.before, model, base),
        after=None if after is None else public(after, model, base),
        edit=edit,
        ability=None if ability is None else public(ability, model, base),
    )


def public(document: T, model: Model, base: BaseModel | None = None) -> T:
    """A copy of a document, or of a patch's metadata, without paths.

    Args:
        document: an audit, an edit, a report on ability, or metadata of a patch.
        model: the model that it is about.
        base: where that model, a local one, is on the Hub.
    """
    made: Any = copy.deepcopy(document)
    if base is not None:
        _name_base(made, base)
    # A report of an edit is about the same model under the name of another folder, perhaps.
    if isinstance(made.get("model"), dict):
        made["model"]["id"] = _model_name(made["model"]["id"], made["model"]["revision"])
    if isinstance(made.get("base_model"), str):
        made["base_model"] = _model_name(made["base_model"], made.get("base_revision"))
    if isinstance(made.get("edit"), dict):
        made["edit"] = public(made["edit"], model, base)
    parts = (made, made.get("dataset"), made.get("options"))
    for part in parts:
        if isinstance(part, dict):
            _shorten(part, _FILES, file_name)
            _shorten(part, _SOURCES, _source_name)
    named = (made.get("anchor"), (made.get("perplexity") or {}).get("text"))
    for part in named:
        if isinstance(part, dict):
            _shorten(part, ("name",), _source_name)
    result: T = made
    return result


def _name_base(made: Any, base: BaseModel) -> None:
    if isinstance(made.get("model"), dict):
        made["model"] |= {"id": base["id"], "revision": base["revision"]}
    if isinstance(made.get("base_model"), str):  # the metadata of a patch
        made |= {"base_model": base["id"], "base_revision": base["revision"]}


def public_command(command: str, model: Model, base: BaseModel | None = None) -> str:
    """The command that made an edit; words that name own files are shortened to their names.

    A local model goes by its name on the Hub where that is known, else it is just MODEL.
    """
    try:
        words = shlex.split(command)
    except ValueError:  # an older record, whose words were not quoted
        words = command.split()
    shown, option = [], ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("-") and equals:
            shown.append(f"{name}={_word(value, name.lstrip('-'), model, base)}")
        else:
            shown.append(_word(word, option, model, base))
        option = word.lstrip("-") if word.startswith("-") else ""
    return shlex.join(_without_base(shown))


def _without_base(words: list[str]) -> list[str]:
    """A command line without --base-model, which a model of the Hub does not take."""
    flag = "--base-model"
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if flag not in (before, word)
    ]
    return [word for word in kept if not word.startswith(f"{flag}=")]


def _word(word: str, option: str, model: Model, base: BaseModel | None) -> str:
    if word.partition("@")[0] == model["id"]:
        if base is not None:
            return base["id"]
        return word if model["revision"] is not None or word == DEMO else "MODEL"
    return file_name(word) if option in _FILES else _source_name(word)


def _shorten(part: dict[str, Any], keys: Sequence[str], name: Any) -> None:
    for key in keys:
        if isinstance(part.get(key), str):
            part[key] = name(part[key])


def _model_name(model: str, revision: str | None) -> str:
    """A model on the Hub has a commit; any other is a directory, whatever it looks like."""
    return file_name(model) if revision is None else model


def _source_name(name: str) -> str:
    """A file or folder without its parents; datasets of the Hub keep their owner."""
    if not any(mark in name for mark in "/\\~"):
        return name
    local = (
        name.startswith(("/", "~", ".", "\\"))
        or "\\" in name
        or bool(PureWindowsPath(name).drive)
        or name.endswith(_ENDINGS)
        or Path(name).exists()
    )
    return file_name(name) if local else name
