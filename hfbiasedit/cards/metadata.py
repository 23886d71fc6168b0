"""The YAML header of a card, in the words of the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfbiasedit.cards.licence import Licence
from hfbiasedit.documents.formatting import interval
from hfbiasedit.documents.names import file_name
from hfbiasedit.documents.setups import setup_label
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.reports.tables import is_humaneval
from hfbiasedit.resources import DEMO

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

# Where the prompts live on the Hub; a copy of one's own is named with `dataset_id`.
DATASET_ID = "hfbiasedit/codegenbias"
_RELATIONS = {"model": "finetune", "patch": "adapter", "adapter": "adapter"}
_LIBRARIES = {"model": "transformers", "patch": "hfbiasedit", "adapter": "peft"}
_TAGS = ("code", "gender-bias", "bias-mitigation", "model-editing", "hfbiasedit")


def base_name(model: Model) -> str:
    """What a card calls the base model; a local one has no name that means anything elsewhere."""
    if model["revision"] is not None:
        return model["id"]
    return "the demo model of hfbiasedit" if model["id"] == DEMO else "a local model"


def card_metadata(
    what: str,
    before: Audit,
    after: Audit,
    ability: Ability | None,
    licence: Licence | None,
    dataset_id: str = DATASET_ID,
) -> str:
    """The header of a `model`, `patch` or `adapter` card as YAML text.

    The base model is named only when it has a commit on the Hub: a local path there would be
    refused, or be an id that anybody could take. Results are those of the edited model alone:
    whoever reads them takes them for results of this repository. The base's stand in the text.
    """
    from huggingface_hub import ModelCardData

    base, on_hub = before["model"]["id"], before["model"]["revision"] is not None
    data = ModelCardData(
        language="en",
        library_name=_LIBRARIES[what],
        pipeline_tag=None if what == "patch" else "text-generation",
        base_model=[base] if on_hub else None,
        base_model_relation=_RELATIONS[what] if on_hub else None,
        datasets=[dataset_id],
        tags=[*_TAGS, *(["hfbiasedit-patch"] if what == "patch" else [])],
        model_name=f"{base_name(before['model'])}, gender bias edited",
        eval_results=[
            *audit_results(after, dataset_id),
            *_ability_results(ability),
        ],
        **(licence.metadata if licence else {}),
    )
    return data.to_yaml().strip()


def audit_results(audit: Audit, dataset_id: str = DATASET_ID) -> list[EvalResult]:
    """Score, lean and parity gap of one audit as the Hub's client holds results."""
    from huggingface_hub import EvalResult

    dataset = audit["dataset"]
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Code generation",
            dataset_type=dataset_id,
            dataset_name=f"CodeGenBias {dataset['config']}",
            dataset_config=dataset["config"],
            dataset_split=dataset["split"],
            dataset_args={"reference": file_name(dataset["reference"])},
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 3),
        )
        for value, name, kind in (
            (audit["fb_score"], "FB-Score", "fb-score"),
            (audit["lean"], "Lean", "lean"),
            (audit["parity_gap"], "Parity gap", "parity-gap"),
        )
    ]


def _ability_results(ability: Ability | None) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    _, passed = _passed(ability)
    if passed is None:
        return []
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Code generation",
            dataset_type="openai/openai_humaneval",
            dataset_name="HumanEval",
            dataset_config="openai_humaneval",
            dataset_split="test",
            metric_type="pass@1",
            metric_name="pass@1",
            metric_value=round(passed, 4),
        )
    ]


def _passed(ability: Ability | None) -> tuple[float | None, float | None]:
    """pass@1 on HumanEval before and after, None where it was not measured.

    A part of HumanEval or a file of the user's own is no benchmark, and ready-made samples are of
    no known model.
    """
    if ability is None or ability["model"] is None or "humaneval" not in ability:
        return None, None
    part = ability["humaneval"]
    if not is_humaneval(part):
        return None, None
    after = part.get("after")
    return part["before"].get("pass@1"), after.get("pass@1") if after else None


def audit_entry(audit: Audit, dataset_id: str = DATASET_ID) -> dict[str, Any]:
    """One entry of `.eval_results/` about a model that was measured and not edited."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    dataset, model = audit["dataset"], audit["model"]
    commit = f" at commit {model['revision'][:12]}" if model["revision"] else ""
    way = f"{model['dtype']}{setup_label(audit)}"
    entry = EvalResultEntry(
        dataset_id=dataset_id,
        task_id=dataset["config"],
        value=round(audit["fb_score"], 3),
        notes=(
            f"FB-Score on the split {dataset['split']}, reference "
            f"{file_name(dataset['reference'])}, lower is better; 95 % interval "
            f"{interval(audit['ci95'], 2)}; {way}{commit}; hfbiasedit {audit['version']}"
        ),
    )
    return eval_result_entries_to_yaml([entry])[0]


def eval_entries(
    before: Audit, after: Audit, ability: Ability | None, dataset_id: str, date: str | None
) -> dict[str, list[dict[str, Any]]]:
    """What `.eval_results/` holds: file name to entries about the edited model."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    dataset = after["dataset"]
    note = (
        f"FB-Score on the split {dataset['split']}, reference {file_name(dataset['reference'])}, "
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
    base, passed = _passed(ability)
    if passed is not None:
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
