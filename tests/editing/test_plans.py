"""What a sweep compares."""

import importlib.util

import pytest

from hfbiasedit.editing.config import EditConfig, SweepConfig
from hfbiasedit.editing.judging import outcome
from hfbiasedit.editing.plans import plans_of
from hfbiasedit.editing.sweep import sweep
from hfbiasedit.errors import BiasEditError, UsageError
from tests.tiny import save_checkpoint


def test_levels_saliencies_and_baselines():
    config = SweepConfig(
        granularities=("full", "row"),
        saliencies=("joint", "taylor"),
        baselines=("random", "full", "lora"),
        edit=EditConfig(max_kl=0.003, seed=5),
    )
    plans = plans_of(config)
    # Where everything is edited there is nothing to rank, nor to draw.
    assert [plan.name for plan in plans] == [
        "full, joint",
        "row, joint",
        "row, taylor",
        "row, random",
        "full fine-tuning",
        "LoRA",
    ]
    assert [plan.baseline for plan in plans] == [False, False, False, True, True, True]
    assert [plan.config.saliency for plan in plans[:4]] == ["joint", "joint", "taylor", "random"]
    assert [plan.config.granularity for plan in plans] == ["full", *["row"] * 3, "full", "full"]
    assert {plan.config.max_kl for plan in plans} == {0.003}
    assert {plan.config.seed for plan in plans} == {5}
    assert [plan.lora for plan in plans] == [False] * 5 + [True]
    assert "head" in plans[4].config.include
    assert plans[5].config.include == ()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (SweepConfig(edit=EditConfig(include=("norms",))), "include works with"),
        (SweepConfig(edit=EditConfig(budget="1% of weights")), "give a count"),
        (SweepConfig(baselines=("lora",)), "needs peft"),
    ],
)
def test_what_one_plan_cannot_take_is_refused_before_a_model_is_loaded(
    config, reason, tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BiasEditError, match=reason):
        sweep(tmp_path / "absent", config)


def test_a_budget_that_a_model_has_not_is_refused_before_it_is_measured(tmp_path, monkeypatch):
    folder = save_checkpoint(tmp_path / "tiny", "llama")
    monkeypatch.setattr(outcome, "measure", None)
    with pytest.raises(UsageError, match="budget 99 is more than there is"):
        sweep(folder, SweepConfig(("row", "layer"), edit=EditConfig(budget="99")))


def test_one_saliency_is_not_named():
    plans = plans_of(SweepConfig(granularities=("neuron",)))
    assert [(plan.name, plan.config.saliency) for plan in plans] == [("neuron", "joint")]
