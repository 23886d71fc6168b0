"""Measures what a model made by ``train.py`` is good for.

    python examples/demo_model/evaluate.py MODEL [--json]

Planted against measured share of women over professions, gender mass on ``core`` and on each
template, and how many greedy completions of ordinary Python stubs parse.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from stubs import STUBS

from hfbiasedit.codegenbias.prompts import PromptSet, load_prompts
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.scoring.engine import score


def shares(loaded: LoadedModel, prompts: PromptSet) -> tuple[np.ndarray, np.ndarray]:
    """Model share of women and gender mass of every prompt."""
    scores = score(loaded, encode(loaded.tokenizer, prompts.records))
    share = 1 / (1 + np.exp(scores.log_male - scores.log_female))
    return share, np.exp(scores.log_male) + np.exp(scores.log_female)


def averages(keys: list[str], values: np.ndarray) -> dict[str, float]:
    """Mean of the values of each key."""
    groups: dict[str, list[float]] = defaultdict(list)
    for key, value in zip(keys, values, strict=True):
        groups[key].append(float(value))
    return {key: sum(group) / len(group) for key, group in groups.items()}


def bias(loaded: LoadedModel, prompts: PromptSet, planted: dict[str, float]) -> dict[str, object]:
    """How the model's shares on some prompts go with planted and factual ones."""
    share, mass = shares(loaded, prompts)
    names = [r.profession for r in prompts.records]
    model = averages(names, share)
    factual = np.array([r.share_female for r in prompts.records])
    x, y = np.array([planted[n] for n in model]), np.array(list(model.values()))
    logits = [np.log(v / (1 - v)) for v in (x.clip(0.01, 0.99), y.clip(0.01, 0.99))]
    return {
        "prompts": len(prompts.records),
        "professions": len(model),
        "correlation": float(np.corrcoef(x, y)[0, 1]),
        "correlation_logits": float(np.corrcoef(*logits)[0, 1]),
        "mean_gap_to_planted": float(np.abs(x - y).mean()),
        "mass": float(mass.mean()),
        "fb_score": 100 * float(np.mean(list(averages(names, np.abs(share - factual)).values()))),
        "lean": 100 * float(np.mean(list(averages(names, share - factual).values()))),
        "mass_by_template": averages([r.template for r in prompts.records], mass),
        "fb_by_template": {
            k: 100 * v
            for k, v in averages(
                [r.template for r in prompts.records], np.abs(share - factual)
            ).items()
        },
        "correlation_by_template": by_template(prompts, share, planted),
    }


def by_template(
    prompts: PromptSet, share: np.ndarray, planted: dict[str, float]
) -> dict[str, float]:
    """Correlation of planted and measured share over the prompts of each template."""
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record, value in zip(prompts.records, share, strict=True):
        pairs[record.template].append((planted[record.profession], float(value)))
    return {key: float(np.corrcoef(np.array(rows).T)[0, 1]) for key, rows in pairs.items()}


def complete(loaded: LoadedModel, stub: str, tokens: int = 96) -> tuple[str, bool]:
    """The function that a greedy completion of ``stub`` makes, and whether it came to an end."""
    ids = torch.tensor([loaded.tokenizer(stub, add_special_tokens=False)["input_ids"]])
    out = loaded.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        pad_token_id=loaded.tokenizer.pad_token_id,
    )[0, ids.shape[1] :]
    text = loaded.tokenizer.decode(out, skip_special_tokens=True)
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if i and line[:1].strip():
            return stub + "\n".join(lines[:i]) + "\n", True
    return stub + text, loaded.tokenizer.eos_token_id in out.tolist()


def parse_rate(loaded: LoadedModel, stubs: tuple[str, ...], show: bool = False) -> dict[str, float]:
    """Share of completed stubs that are Python; an unfinished last line is left out."""
    good, ended = 0, 0
    for stub in stubs:
        text, done = complete(loaded, stub)
        if not done:
            text = text[: text.rindex("\n") + 1]
        ended += done
        try:
            ast.parse(text)
            good += 1
        except (SyntaxError, ValueError):
            if show:
                print("does not parse:\n" + text)
    return {"parses": good / len(stubs), "ends": ended / len(stubs)}


def perplexity(loaded: LoadedModel, text: str, window: int = 256) -> float:
    """Perplexity per byte of a text, in windows of ``window`` tokens."""
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(ids), window):
            piece = torch.tensor([ids[start : start + window]])
            if piece.shape[1] > 1:
                loss = loaded.model(input_ids=piece, labels=piece).loss.float().item()
                total += loss * (piece.shape[1] - 1)
    return math.exp(total / len(text.encode()))


def evaluate(path: Path, *, limit: int = 3000, show: bool = False) -> dict[str, object]:
    """All measurements of the model in ``path``, as one document."""
    loaded = load_model(path, dtype="float32")
    rows = json.loads((path / "planted.json").read_text(encoding="utf-8"))["professions"]
    planted = {name: row["planted"] for name, row in rows.items()}
    return {
        "core": bias(loaded, load_prompts("core", limit=limit), planted),
        "full": bias(loaded, load_prompts("full@1", limit=limit), planted),
        "stubs": parse_rate(loaded, STUBS, show),
        "byte_perplexity_of_this_file": perplexity(loaded, Path(__file__).read_text("utf-8")),
    }


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--limit", type=int, default=3000, help="prompts of each configuration")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show", action="store_true", help="print completions that do not parse")
    arguments = parser.parse_args()
    result = evaluate(arguments.model, limit=arguments.limit, show=arguments.show)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, part in result.items():
        if not isinstance(part, dict):
            print(f"{name} {part:.4f}")
            continue
        print(name, {k: round(v, 4) for k, v in part.items() if not isinstance(v, dict)})
        for template, mass in part.get("mass_by_template", {}).items():
            correlation = part["correlation_by_template"][template]
            fb = part["fb_by_template"][template]
            print(f"  {template:24} mass {mass:.3f}  correlation {correlation:.3f}  FB {fb:.1f}")


if __name__ == "__main__":
    main()
