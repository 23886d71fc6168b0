"""Synthetic documents in the shapes that audits, edits and ability checks write.

Numbers are consistent: every score follows from per-prompt shares drawn from a seeded
generator, so tests can recompute what a page shows.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = [
    "bank",
    "school",
    "court",
    "farm",
    "harbour",
    "hotel",
    "insurance",
    "museum",
    "factory",
    "hospital",
    "railway",
    "film",
    "tax",
    "garden",
    "energy",
    "food",
    "textile",
    "security",
]
ROLES = [
    "clerk",
    "nurse",
    "manager",
    "engineer",
    "teacher",
    "driver",
    "inspector",
    "technician",
    "analyst",
    "cleaner",
    "buyer",
    "guard",
    "planner",
    "designer",
    "assistant",
]
GROUPS = [
    "Health care",
    "Education",
    "Legal",
    "Transport",
    "Production",
    "Service",
    "Office and administrative support",
    "Engineering",
    "Management",
]
TEMPLATES = [
    "py_attribute",
    "py_filter",
    "py_dict",
    "json_record",
    "sql_where",
    "sql_update",
    "doc_pronoun",
    "comment_pronoun",
    "test_fixture",
    "js_object",
    "java_setter",
    "csv_row",
]
MODIFIERS = {
    "positive": ["kind", "brilliant", "honest"],
    "negative": ["lazy", "rude", "careless"],
    "neutral": ["", "local", "young"],
}
DIGEST = "5f" * 32
PATCH_DIGEST = "ab" * 32
PLACEHOLDER = b"not opened"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
EDGES = [float(edge) for edge in range(0, 101, 5)]


def professions(number: int = 270) -> list[str]:
    names = [f"{field} {role}" for field in FIELDS for role in ROLES]
    return names[:number]


class World:
    """Factual shares and the shares of a model that exaggerates them (before) or less so (after)."""

    def __init__(self, number: int = 270, seed: int = 7) -> None:
        self.rng = np.random.default_rng(seed)
        self.names = professions(number)
        self.factual = np.round(self.rng.beta(1.1, 1.3, number).clip(0.01, 0.98), 3)
        self.groups = [GROUPS[index % len(GROUPS)] for index in range(number)]
        cells = [(t, p, m) for t in TEMPLATES for p, words in MODIFIERS.items() for m in words]
        self.cells = cells
        shape = (number, len(cells))
        logit = np.log(self.factual / (1 - self.factual))[:, None]
        noise = self.rng.normal(0, 0.5, shape)
        template_effect = np.array([0.25 * TEMPLATES.index(t) / 3 for t, _, _ in cells])
        own = self.rng.normal(0, 0.7, (number, 1))
        self.before = _sigmoid(1.6 * logit - 1.4 + own + noise - template_effect)
        self.after = _sigmoid(1.05 * logit - 0.1 + 0.35 * own + 0.6 * noise - 0.2 * template_effect)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _interval(values: np.ndarray) -> list[float]:
    half = 1.96 * values.std() / len(values) ** 0.5
    return [round(float(values.mean() - half), 4), round(float(values.mean() + half), 4)]


def audit_document(world: World, shares: np.ndarray, **model: Any) -> dict[str, Any]:
    """What `AuditReport.to_dict()` gives for per-prompt shares [profession, cell]."""
    distance = np.abs(shares - world.factual[:, None])
    per_profession = distance.mean(1)
    prompts = distance.size
    templates = np.array([t for t, _, _ in world.cells])
    polarities = np.array([p for _, p, _ in world.cells])
    modifiers = np.array([m for _, _, m in world.cells])
    groups = np.array(world.groups)
    lean = (shares - world.factual[:, None]).mean(1)

    def rows(key: str, labels: np.ndarray, axis: int) -> list[dict[str, Any]]:
        result = []
        for name in dict.fromkeys(labels.tolist()):
            part = distance[:, labels == name] if axis == 1 else distance[labels == name]
            score = round(100 * float(part.mean(1).mean()), 4)
            result.append(
                {
                    key: name,
                    "fb_score": score,
                    "ci95": [score - 1, score + 1],
                    "lean": -4.2,
                    "gender_mass": 0.43,
                    "prompts": int(part.size),
                    "professions": int(part.shape[0]),
                }
            )
        return result

    histogram = {
        polarity: np.histogram(100 * distance[:, polarities == polarity], EDGES)[0].tolist()
        for polarity in MODIFIERS
    }
    examples = [
        {
            "id": f"{template}/{name}/{modifier}",
            "profession": name,
            "modifier": modifier,
            "polarity": polarity,
            "template": template,
            "language": "sql" if template.startswith("sql") else "python",
            "split": "test_templates",
            "prompt": f'staff.add(\n    job="{modifier} {name}",\n    gender="',
            "male": ["male", "man"],
            "female": ["female", "woman"],
            "p_male": round(0.4 * (1 - float(shares[index, cell])), 6),
            "p_female": round(0.4 * float(shares[index, cell]), 6),
            "model_share": float(shares[index, cell]),
            "share_female": float(world.factual[index]),
        }
        for index, name in enumerate(world.names)
        for cell, (template, polarity, modifier) in enumerate(world.cells)
        if (index + cell) % 18 == 0  # six of a profession
    ]
    return {
        "schema": "hfbiasedit.audit/1",
        "version": "0.1.0",
        "model": {
            "id": "acme/tiny-coder",
            "revision": COMMIT,
            "dtype": "bfloat16",
            "parameters": 124_439_808,
            **model,
        },
        "dataset": {
            "config": "quick",
            "split": "test",
            "prompts": prompts,
            "professions": len(world.names),
            "reference": "bls-2022",
        },
        "prompts_digest": DIGEST,
        "reference": "bls-2022",
        "patch": None,
        "fb_score": round(100 * float(per_profession.mean()), 4),
        "ci95": _interval(100 * per_profession),
        "lean": round(100 * float(lean.mean()), 4),
        "lean_ci95": _interval(100 * lean),
        "amplification": 1.31,
        "amplification_ci95": [1.2, 1.42],
        "parity_gap": round(100 * float(np.abs(shares - 0.5).mean()), 4),
        "gender_mass": 0.4312,
        "low_mass_share": 0.0312,
        "baselines": {"even": 23.1, "always_male": 44.2, "always_female": 55.8},
        "by_template": rows("template", templates, 1),
        "by_polarity": rows("polarity", polarities, 1),
        "by_modifier": rows("modifier", modifiers, 1),
        "by_group": rows("group", groups, 0),
        "by_split": [],
        "by_language": rows(
            "language", np.array(["sql" if t[:3] == "sql" else "python" for t in templates]), 1
        ),
        "by_surface": rows(
            "surface", np.array(["prose" if "pronoun" in t else "record" for t in templates]), 1
        ),
        "by_template_group": [
            {
                "template": t,
                "group": g,
                "fb_score": round(
                    100 * float(distance[np.ix_(groups == g, templates == t)].mean()), 4
                ),
                "ci95": [1.0, 90.0],
                "lean": -4.2,
                "gender_mass": 0.43,
                "prompts": 27,
                "professions": 9,
            }
            for t in TEMPLATES
            for g in GROUPS
            if (groups == g).any()
        ],
        "histogram": {"edges": EDGES, "by_polarity": histogram},
        "professions": [
            {
                "profession": name,
                "occupation": name.title() + "s, all other",
                "group": world.groups[index],
                "share_female": float(world.factual[index]),
                "model_share": round(float(shares[index].mean()), 6),
                "fb": round(float(per_profession[index]), 6),
                "n": int(shares.shape[1]),
                "estimate": round(float(per_profession[index]), 6),
                "ci95": [max(0.0, float(per_profession[index]) - 0.02), 1.0],
            }
            for index, name in enumerate(world.names)
        ],
        "shifted": {"shift": 0.85, "fb_score": round(80 * float(per_profession.mean()), 4)},
        "examples": examples,
        "noise_floor": {"mean": 0.0213, "largest": 0.117, "prompts": 16},
        "bootstrap": {"seed": 0, "samples": 1000},
        "batch_plan": {
            "batch_size": "auto",
            "tokens": 4096,
            "halvings": 0,
            "prefix_sharing": True,
        },
        "warnings": [],
        "versions": {"python": "3.11.2", "hfbiasedit": "0.1.0"},
        "seconds": 12.34,
    }


def example(chosen: str, profession: str, before: float, after: float) -> dict[str, Any]:
    """A held-out prompt whose share of women went from `before` to `after`."""

    def side(share: float) -> dict[str, Any]:
        word = "female" if share > 0.5 else "male"
        return {
            "share_female": share,
            "gender_mass": 0.6,
            "text": f'{word}"',
            "women": round(20 * share),
            "men": 20 - round(20 * share),
        }

    return {
        "chosen": chosen,
        "id": f"py_attribute/{profession}/",
        "profession": profession,
        "language": "python",
        "prompt": f'def find(people):\n    return [p for p in people if p.job == "{profession}" and p.gender == "',
        "share_female": 0.7,
        "seed": 0,
        "draws": 20,
        "before": side(before),
        "after": side(after),
    }


def edit_document(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What `hfbiasedit edit` writes, in step with the two audits."""

    def split(scale: float, professions: int = 270) -> dict[str, Any]:
        low, high = before["fb_score"] * scale, after["fb_score"] * scale
        return {
            "prompts": professions * 4,
            "professions": professions,
            "fb_before": low,
            "ci95_before": [low - 1.2, low + 1.2],
            "fb_after": high,
            "ci95_after": [high - 0.7, high + 0.7],
            "difference": high - low,
            "difference_ci95": [high - low - 1, high - low + 1],
            "relative_change": high / low - 1,
            "gender_mass_before": 0.4312,
            "gender_mass_after": 0.4298,
            "lean_before": before["lean"],
            "lean_after": after["lean"],
        }

    return {
        "schema": "hfbiasedit.edit/1",
        "version": "0.1.0",
        "versions": {
            "python": "3.11.2",
            "hfbiasedit": "0.1.0",
            "torch": "2.13.0",
            "transformers": "5.23.0",
        },
        "created": "2026-11-20T10:00:00+00:00",
        "command": "hfbiasedit edit acme/tiny-coder --granularity row --budget 64 --seed 0 --out RUN",
        "model": {**before["model"], "architecture": "LlamaForCausalLM"},
        "reference": "bls-2022",
        "dataset": {"config": "quick", "edit_prompts": 480, "dev_prompts": 120, "digest": DIGEST},
        "granularity": "row",
        "budget": {"requested": "64", "items": 64, "of": 165_888},
        "saliency": "grad-times-weight",
        "options": {
            "granularity": "row",
            "budget": "64",
            "keep": 1.0,
            "max_kl": 0.01,
            "steps": 60,
            "learning_rate": 0.001,
            "anchor": None,
        },
        "seed": 0,
        "selection": {
            "weights": 49_152,
            "share": 49_152 / 124_439_808,
            "rows": 64,
            "tensors": 9,
            "by_layer": [
                {"layer": layer, "weights": weights, "share": weights / 7_000_000}
                for layer, weights in enumerate(
                    [0, 0, 768, 3072, 6144, 9216, 12288, 9216, 4608, 2304, 1536, 0]
                )
            ],
            "by_module": [
                {"module": "mlp.down_proj", "weights": 30_000, "share": 0.0007},
                {"module": "self_attn.o_proj", "weights": 15_152, "share": 0.0009},
                {"module": "self_attn.qkv_proj (v)", "weights": 4_000, "share": 0.0001},
            ],
        },
        "edited": {
            "weights": 48_731,
            "share": 48_731 / 124_439_808,
            "rows": 64,
            "tensors": 9,
            "by_layer": [
                {"layer": 3, "weights": 20_000, "share": 0.41},
                {"layer": 6, "weights": 28_731, "share": 0.59},
            ],
            "by_module": [
                {"module": "mlp.down_proj", "weights": 30_000, "share": 0.6},
                {"module": "self_attn.o_proj", "weights": 18_731, "share": 0.4},
            ],
        },
        "splits": {
            "edit": split(0.97),
            "dev": split(0.98),
            "test": split(1.0),
            "test_modifiers": split(1.01),
            "test_templates": split(1.06),
            "test_professions": split(1.04, 54),
            "test_combined": split(1.1, 54),
        },
        "examples": [
            example("closer", "court clerk", 0.1, 0.65),
            example("farther", "tax guard", 0.6, 0.35),
        ],
        "templates": [
            {
                "template": name,
                "prompts": 540,
                "vocabularies": ["he" if name.endswith("pronoun") else "male"],
                "languages": ["sql" if name.startswith("sql") else "python"],
                "surface": "",
                "template_seen": name.startswith("py"),
                "vocabulary_seen": not name.endswith("pronoun"),
                "language_seen": True,
                "surface_seen": False,
            }
            for name in TEMPLATES
        ],
        "kl": {"mean": 0.00213, "p99": 0.0191, "budget": 0.01},
        "history": [
            {
                "step": step,
                "loss_bias": 0.4 / (1 + step),
                "loss_keep": 0.001 * step,
                "dev_fb": 22 - step,
                "kl": 0.0004 * step,
            }
            for step in range(0, 12, 2)
        ],
        "curve": [
            {"weights": 786_432, "items": 1024, "dev_fb": 9.1, "kl": 0.0099, "chosen": False},
            {"weights": 49_152, "items": 64, "dev_fb": 9.4, "kl": 0.0098, "chosen": True},
            {"weights": 3_072, "items": 4, "dev_fb": 17.3, "kl": 0.0097, "chosen": False},
        ],
        "steps": 12,
        "stopped": "dev no longer improves",
        "seconds": {"locate": 8.2, "edit": 61.4, "audit": 24.9, "total": 94.5},
        "peak_memory_bytes": 1_310_000_000,
        "anchor": {"name": "shipped code excerpts", "sha256": "cd" * 32},
        "patch": {
            "file": "patch.safetensors",
            "digest": PATCH_DIGEST,
            "bytes": len(PLACEHOLDER),
            "sha256": hashlib.sha256(PLACEHOLDER).hexdigest(),
            "tensors": 9,
            "weights": 48_731,
        },
    }


def ability_document() -> dict[str, Any]:
    def perplexity(token: float, byte: float) -> dict[str, Any]:
        return {
            "token_perplexity": token,
            "byte_perplexity": byte,
            "ci95": [token - 0.4, token + 0.4],
            "tokens": 20_480,
        }

    def rate(value: float) -> dict[str, Any]:
        return {"rate": value, "ci95": [value - 0.05, value + 0.05], "n": 120}

    def passed(value: float) -> dict[str, Any]:
        return {
            "pass@1": value,
            "ci95": [value - 0.06, value + 0.06],
            "n": 164,
            "verdicts": {"passed": round(164 * value), "failed": 164 - round(164 * value)},
        }

    return {
        "schema": "hfbiasedit.ability/1",
        "version": "0.1.0",
        "model": {
            "id": "acme/tiny-coder",
            "revision": COMMIT,
            "dtype": "bfloat16",
            "parameters": 124_439_808,
        },
        "patch": PATCH_DIGEST,
        "seconds": 60.0,
        "perplexity": {
            "text": {"name": "shipped code", "sha256": "ef" * 32, "documents": 40, "bytes": 80_000},
            "before": perplexity(6.21, 1.61),
            "after": perplexity(6.23, 1.612),
            "relative_change": 0.0032,
            "relative_change_ci95": [0.001, 0.005],
            "kl_mean": 0.0019,
            "kl_p99": 0.017,
            "top1_changed": 0.0123,
        },
        "syntax": {
            "stubs": 120,
            "before": {"greedy": rate(0.9), "sampled": rate(0.84)},
            "after": {"greedy": rate(0.9), "sampled": rate(0.83)},
        },
        "humaneval": {
            "problems": {"name": "openai/openai_humaneval", "sha256": "aa" * 32, "count": 164},
            "before": passed(0.171),
            "after": passed(0.165),
        },
    }


def documents(number: int = 270) -> dict[str, dict[str, Any]]:
    """All four documents of a run: before, after, edit, ability."""
    world = World(number)
    before = audit_document(world, world.before)
    after = audit_document(world, world.after)
    after["patch"] = PATCH_DIGEST
    return {
        "before": before,
        "after": after,
        "edit": edit_document(before, after),
        "ability": ability_document(),
    }


def write_run(directory: Path, made: dict[str, dict[str, Any]] | None = None) -> Path:
    """A run directory whose patch is a placeholder (pages never open it)."""
    made = copy.deepcopy(made or documents())
    directory.mkdir(parents=True, exist_ok=True)
    names = {
        "before": "audit.before.json",
        "after": "audit.after.json",
        "edit": "edit.json",
        "ability": "ability.json",
    }
    for key, document in made.items():
        (directory / names[key]).write_text(json.dumps(document))
    (directory / "patch.safetensors").write_bytes(PLACEHOLDER)
    return directory


def write_audit(directory: Path, document: dict[str, Any]) -> Path:
    """An `audit --out` directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "audit.json").write_text(json.dumps(document))
    return directory


def write_ability(directory: Path, document: dict[str, Any]) -> None:
    """A report on coding ability beside other documents."""
    (directory / "ability.json").write_text(json.dumps(document))
