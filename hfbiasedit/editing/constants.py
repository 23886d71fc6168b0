"""The constants of an edit that were chosen by looking at models, and at which prompts of which.

A reader of a result has to know whether what it is measured on had a say in how it was made.
"""

from __future__ import annotations

from hfbiasedit.documents.structures.edit_document import Chosen
from hfbiasedit.editing.locating import solutions
from hfbiasedit.editing.material import gathering, price, prompts
from hfbiasedit.editing.solving import bench, candidates, curve, gauss_newton, held, leftout
from hfbiasedit.levels import LEVELS, Granularity

_EDIT = "SmolLM2-135M-Instruct: edit split, templates left out in turn"
_DEV = "SmolLM2-135M-Instruct and the demo model: dev split"
_QWEN = "Qwen2.5-Coder-0.5B-Instruct, seed 1: dev split, with held-out prompts in view"
_HELD_OUT = "SmolLM2-135M-Instruct and the demo model: dev splits, with held-out prompts in view"
_DEMO = "the demo model: with its held-out prompts of version 1 in view"


def chosen_constants(granularity: Granularity) -> list[Chosen]:
    """What was chosen where, with the values that hold for a level."""
    return [
        _chosen("damping of prices", price.DAMPING, _EDIT),
        _chosen("prompts to locate with", solutions.PROMPTS, _EDIT),
        _chosen("prompts to learn from", gathering.EDIT_PROMPTS + gathering.MORE_PROMPTS, _EDIT),
        _chosen("gender mass from which a prompt counts fully", prompts.SEEN, _EDIT),
        _chosen("share of the reduction that a budget may lose", curve.SLACK, _DEV),
        _chosen("change of the gender mass that is near enough", held.NEAR, _DEV),
        _chosen("dearer price that is tried, in times", candidates.DEARER, _QWEN),
        _chosen("what a price may lose on prompts left out", leftout.CLOSE, _HELD_OUT),
        _chosen("rounds", gauss_newton.ROUNDS, _HELD_OUT),
        _chosen("share of dev that a further round may leave", candidates.WELL, _HELD_OUT),
        _chosen("share of a round's limit that holds it back", gauss_newton.NEAR, _HELD_OUT),
        _chosen("times a round's part of the limit that is near enough", bench.LOOSE, _HELD_OUT),
        _chosen("gain on dev that another round needs", gauss_newton.GAIN, _DEV),
        _chosen("allowed divergence, by default", LEVELS[granularity].max_kl, _DEMO),
    ]


def _chosen(name: str, value: float, on: str) -> Chosen:
    return {"constant": name, "value": value, "chosen_on": on}
