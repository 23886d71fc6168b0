"""The share of function stubs that a model completes to code that parses."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hfbiasedit import console
from hfbiasedit.abilities.generating.generation import (
    FUNCTION_STOPS,
    Completion,
    Request,
    Sampling,
    as_answers,
    complete,
)
from hfbiasedit.documents.structures.ability_document import Rate, RateChange, Syntax, SyntaxSide
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json
from hfbiasedit.intervals import mean_interval, rate_interval
from hfbiasedit.resources import data_path
from hfbiasedit.texts.jsonl import read_objects, text_field

if TYPE_CHECKING:
    from hfbiasedit.abilities.config import AbilityConfig
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch

_LONGEST_BODY = 64  # tokens; the stubs ask for a few lines
_TEMPERATURE = 0.8


@dataclass(frozen=True)
class Stub:
    """The head of a function with its docstring."""

    name: str
    prompt: str


def load_stubs(path: Path | None, limit: int | None = None) -> list[Stub]:
    """Stubs of a JSONL file with the fields `name` and `prompt`, or those that ship.

    Raises:
        BiasEditError: a line is malformed, or a stub is no function with only a docstring.
    """
    path = path or data_path("ability", "stubs.jsonl")
    stubs = []
    for number, row in read_objects(path):
        where = f"{path}: line {number}"
        stub = Stub(text_field(row, "name", where), text_field(row, "prompt", where))
        if _last_function(stub.prompt + "    pass\n") is None:
            raise BiasEditError(f"{where}: the prompt is not the head of a Python function")
        stubs.append(stub)
    if not stubs:
        raise BiasEditError(f"{path} holds no stubs")
    return stubs[:limit]


def parses(prompt: str, completion: Completion) -> bool:
    """Whether prompt and completion are Python, and the function got a body of its own.

    A completion that ran into the length limit is judged without its last, unfinished line.
    """
    text = completion.text
    if completion.finish == "length":
        text = text[: text.rfind("\n") + 1]
    function = _last_function(prompt + text)
    if function is None:
        return False
    own = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return bool(own)


def measure_syntax(
    loaded: LoadedModel,
    stubs: Sequence[Stub],
    config: AbilityConfig,
    patch: Patch | None = None,
) -> Syntax:
    """Rates of parsing completions, greedy and sampled, before and (with a patch) after."""
    before = _both(loaded, stubs, config)
    result: Syntax = {
        "stubs": len(stubs),
        "sha256": _digest(stubs),
        "before": _summary(before, config),
    }
    if patch is not None:
        with patch.applied(loaded):
            after = _both(loaded, stubs, config)
        result["after"] = _summary(after, config)
        result["difference"] = {
            "greedy": _change(before["greedy"], after["greedy"], config),
            "sampled": _change(before["sampled"], after["sampled"], config),
        }
    return result


def _digest(stubs: Sequence[Stub]) -> str:
    text = canonical_json([[stub.name, stub.prompt] for stub in stubs])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _change(before: np.ndarray, after: np.ndarray, config: AbilityConfig) -> RateChange:
    interval = mean_interval(after - before, resamples=config.bootstrap, seed=config.seed)
    return {"rate": float((after - before).mean()), "ci95": interval}


def _both(
    loaded: LoadedModel, stubs: Sequence[Stub], config: AbilityConfig
) -> dict[str, np.ndarray]:
    """1.0 or 0.0 per stub [stubs], greedy and sampled."""
    greedy = Sampling(min(config.max_new_tokens, _LONGEST_BODY), FUNCTION_STOPS, seed=config.seed)
    sampled = replace(greedy, temperature=config.temperature or _TEMPERATURE, top_p=config.top_p)
    requests = [
        Request(f"stub {number} {stub.name}", stub.prompt) for number, stub in enumerate(stubs)
    ]
    asked = as_answers(loaded, requests) if config.chat else requests

    rates = {}
    with console.progress("syntax", 2 * len(stubs)) as bar:
        for name, sampling in (("greedy", greedy), ("sampled", sampled)):
            written = complete(
                loaded,
                asked,
                sampling,
                batch_size=config.batch_size,
                on_batch=lambda batch: bar.advance(len(batch)),
            )
            verdicts = [parses(s.prompt, w) for s, w in zip(stubs, written, strict=True)]
            rates[name] = np.array(verdicts, dtype=np.float64)
    return rates


def _summary(rates: dict[str, np.ndarray], config: AbilityConfig) -> SyntaxSide:
    return {"greedy": _rate(rates["greedy"], config), "sampled": _rate(rates["sampled"], config)}


def _rate(values: np.ndarray, config: AbilityConfig) -> Rate:
    return {
        "rate": float(values.mean()),
        "ci95": rate_interval(values, 1, resamples=config.bootstrap, seed=config.seed),
        "n": len(values),
    }


def _last_function(source: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The last top-level function of a source, or None when it does not parse or has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a strange escape is no syntax error
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return functions[-1] if functions else None
