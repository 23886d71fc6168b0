"""The YAML header of a card, in the words of the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfbiasedit.cards.licence import Licence
from hfbiasedit.documents.names import is_hub_id, model_name
from hfbiasedit.documents.reading import Document
from hfbiasedit.reports.tables import is_humaneval

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

# Where the prompts live on the Hub; a copy of one's own is named with `dataset_id`.
DATASET_ID = "hfbiasedit/codegenbias"
_RELATIONS = {"model": "finetune", "patch": "adapter"}
_LIBRARIES = {"model": "transformers", "patch": "hfbiasedit"}
_TAGS = ("code", "gender-bias", "bias-mitigation", "model-editing", "hfbiasedit")
_METRICS = (
    ("fb_score", "FB-Score", "fb-score"),
    ("lean", "Lean", "lean"),
    ("parity_gap", "Parity gap", "parity-gap"),
)


def card_metadata(
    what: str,
    before: Document,
    after: Document,
    ability: Document | None,
    licence: Licence | None,
    dataset_id: str = DATASET_ID,
) -> str:
    """The header of a model (`what="model"`) or patch card as YAML text.

    The base model is named only when its id can be one on the Hub: a local path there would
    be refused. Results of the base and the edited model are two entries with configurations
    of their own, because clients merge entries that agree in them.
    """
    from huggingface_hub import ModelCardData

    base = before["model"]["id"]
    data = ModelCardData(
        language="en",
        library_name=_LIBRARIES[what],
        pipeline_tag="text-generation" if what == "model" else None,
        base_model=[base] if is_hub_id(base) else None,
        base_model_relation=_RELATIONS[what] if is_hub_id(base) else None,
        datasets=[dataset_id],
        tags=[*_TAGS, *(["hfbiasedit-patch"] if what == "patch" else [])],
        model_name=f"{model_name(base)}, gender bias edited",
        eval_results=[
            *_audit_results(before, "before", "base model", dataset_id),
            *_audit_results(after, "after", "edited model", dataset_id),
            *_ability_results(ability),
        ],
        **(licence.metadata if licence else {}),
    )
    return data.to_yaml().strip()


def _audit_results(audit: Document, side: str, whose: str, dataset_id: str) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    dataset = audit["dataset"]
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Code generation",
            dataset_type=dataset_id,
            dataset_name=f"CodeGenBias {dataset['config']} ({side} editing)",
            dataset_config=f"{dataset['config']}-{side}",
            dataset_split=dataset["split"],
            dataset_args={"reference": dataset["reference"]},
            metric_type=kind,
            metric_name=f"{name} of the {whose}",
            metric_value=round(audit[key], 3),
        )
        for key, name, kind in _METRICS
        if audit.get(key) is not None
    ]


def _ability_results(ability: Document | None) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    part = (ability or {}).get("humaneval") or {}
    if not is_humaneval(part):  # a part of it, or a file of the user's own, is no benchmark
        return []
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Code generation",
            dataset_type="openai/openai_humaneval",
            dataset_name=f"HumanEval ({side} editing)",
            dataset_config=f"openai_humaneval-{side}",
            dataset_split="test",
            metric_type="pass@1",
            metric_name=f"pass@1 of the {whose}",
            metric_value=round(part[side]["pass@1"], 4),
        )
        for side, whose in (("before", "base model"), ("after", "edited model"))
        if (part.get(side) or {}).get("pass@1") is not None
    ]


def eval_entries(
    before: Document, after: Document, ability: Document | None, dataset_id: str, date: str | None
) -> dict[str, list[dict[str, Any]]]:
    """What `.eval_results/` holds: file name to entries about the edited model."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    dataset = after["dataset"]
    note = (
        f"FB-Score on the split {dataset['split']}, reference {dataset['reference']}, "
        f"lower is better; base model: {before['fb_score']:.2f}"
    )
    files = {
        "codegenbias.yaml": [
            EvalResultEntry(
                dataset_id=dataset_id,
                task_id=dataset["config"],
                value=round(after["fb_score"], 3),
                date=date,
                notes=note,
            )
        ]
    }
    part = (ability or {}).get("humaneval") or {}
    passed = (part.get("after") or {}).get("pass@1")
    if passed is not None and is_humaneval(part):
        base = (part.get("before") or {}).get("pass@1")
        files["humaneval.yaml"] = [
            EvalResultEntry(
                dataset_id="openai/openai_humaneval",
                task_id="openai_humaneval",
                value=round(passed, 4),
                date=date,
                notes="pass@1" + (f"; base model: {base:.4f}" if base is not None else ""),
            )
        ]
    return {name: eval_result_entries_to_yaml(entries) for name, entries in files.items()}
