"""LoRA (through peft) as a baseline: the same objective, batches and steps, other parameters."""

from __future__ import annotations

import contextlib
import importlib.util
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hfbiasedit.editing.attempt import Attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.material.forward import remember_original
from hfbiasedit.editing.material.gathering import Material
from hfbiasedit.editing.material.windows import split_windows
from hfbiasedit.editing.solving.adam import optimise
from hfbiasedit.editing.solving.noise import arithmetic_noise
from hfbiasedit.editing.solving.task import Task, watched_divergence
from hfbiasedit.editing.weights.selection import Selection, fingerprint, whole_of
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import EXPERT, projections
from hfbiasedit.models.loading import LoadedModel

RANK = 8
LEARNING_RATE = 0.003  # of the adapters' weights themselves: they have no typical size yet


def check_peft() -> None:
    """Raise `BiasEditError` where peft is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise BiasEditError("the baseline lora needs peft: pip install peft")


class LoraDeltas:
    """Low-rank adapters on all projections, with the interface of `Deltas`.

    While it trains the model computes with the adapters beside the frozen weights; `rounded` gives
    the merged weights in the checkpoint's dtype, which is what is judged. Experts get none.

    Raises:
        BiasEditError: peft is not installed.
    """

    def __init__(self, loaded: LoadedModel, seed: int) -> None:
        check_peft()
        from peft import LoraConfig, get_peft_model

        items = [item for item in projections(loaded.model) if item.kind != EXPERT]
        self.slices = {item.name: whole_of(item) for item in items}
        self._weights = {item.name: loaded.model.get_parameter(item.name) for item in items}
        self._modules = {item.name: item.module_path for item in items}
        self.selection = Selection("full", self.slices, fingerprint(loaded.model))
        torch.manual_seed(seed)
        options = LoraConfig(
            r=RANK, lora_alpha=2 * RANK, target_modules=[item.module_path for item in items]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about Conv1D's layout, which peft handles itself
            self._adapted = get_peft_model(loaded.model, options)
        self.values = {
            name: parameter
            for name, parameter in self._adapted.named_parameters()
            if parameter.requires_grad
        }
        self.base = {name: torch.ones(1) for name in self.values}

    @property
    def trained(self) -> int:
        """How many weights the adapters have."""
        return sum(value.numel() for value in self.values.values())

    def __enter__(self) -> LoraDeltas:
        return self

    def __exit__(self, *reason: object) -> None:
        self._adapted.unload()
        for weight in self._weights.values():
            weight.requires_grad_(False)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Adapters are ordinary parameters: nothing is to be attached."""
        yield

    def originals(self) -> dict[str, Tensor]:
        """Copies of the frozen weights."""
        return {name: weight.detach().clone() for name, weight in self._weights.items()}

    def write(self, scale: float = 1.0) -> None:
        """Let the adapters count `scale` times."""
        for module in self._adapted.modules():
            if hasattr(module, "scaling") and isinstance(module.scaling, dict):
                module.scaling["default"] = 2.0 * scale

    @torch.no_grad()
    def state(self, scale: float = 1.0) -> dict[str, Tensor]:
        """A copy of the adapters; their product is scaled."""
        return {
            name: value.detach().clone() * (scale if ".lora_B." in name else 1.0)
            for name, value in self.values.items()
        }

    @torch.no_grad()
    def set_(self, state: Mapping[str, Tensor]) -> None:
        """Take the adapters' weights (zeros mean: no change)."""
        for name, value in self.values.items():
            value.copy_(state[name])
        self.write()

    @torch.no_grad()
    def rounded(self, name: str) -> Tensor:
        """The merged weight of one projection in its own dtype."""
        base = self._weights[name]
        adapted: Any = self._adapted.base_model.model
        layer = adapted.get_submodule(self._modules[name])
        return (base.float() + layer.get_delta_weight("default").float()).to(base.dtype)


def attempt_lora(loaded: LoadedModel, config: EditConfig, material: Material) -> Attempt:
    """Train adapters with the objective, prompts and stopping rule of an edit, and merge them."""
    start = time.perf_counter()
    config = replace(config, learning_rate=config.learning_rate or LEARNING_RATE)
    keep, watch = split_windows(remember_original(loaded, material.windows, None))
    task = Task(loaded, None, material.prompts, material.train, material.dev, keep, watch, config)
    matrices = {item.name: whole_of(item) for item in projections(loaded.model)}
    task.noise = arithmetic_noise(task, matrices)
    with LoraDeltas(loaded, config.seed) as deltas:
        outcome = optimise(task, deltas)  # type: ignore[arg-type]
        kl = watched_divergence(task)
        values = {name: deltas.rounded(name).cpu() for name in deltas.slices}
        base = deltas.originals()
    seconds = {"locate": 0.0, "edit": time.perf_counter() - start}
    return Attempt(deltas.selection, outcome, values, base, kl, None, seconds, noise=task.noise)
