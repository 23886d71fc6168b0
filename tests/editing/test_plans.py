"""What a sweep compares."""

from hfbiasedit.editing.config import EditConfig, SweepConfig
from hfbiasedit.editing.plans import plans_of


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


def test_one_saliency_is_not_named():
    plans = plans_of(SweepConfig(granularities=("neuron",)))
    assert [(plan.name, plan.config.saliency) for plan in plans] == [("neuron", "joint")]
