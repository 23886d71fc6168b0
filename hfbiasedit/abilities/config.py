"""Options of `ability`; the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.errors import UsageError

TASKS = ("perplexity", "syntax", "humaneval", "generation")
HUMANEVAL = "openai/openai_humaneval"


@dataclass(frozen=True)
class AbilityConfig:
    """What is measured, and how.

    Attributes:
        tasks: any of `TASKS`.
        patch: patch file or `Patch`; measured before and after, in one load of the model.
        text: file or folder of code for `perplexity` (None: the corpus that ships).
        dataset: Hub dataset for `perplexity` instead; its text is in the column `field`.
        dataset_config, split: of that dataset. documents: most documents taken from it.
        anchor: what the edit was anchored on (file, folder, dataset; None: the default anchor);
            the text of `perplexity` must not overlap with it.
        window: tokens a window holds (at most the model's context).
        stride: tokens by which windows move on (None: half a window).
        stubs: JSONL file of function stubs for `syntax` (None: those that ship).
        problems: file of problems in the layout of HumanEval; None: the Hub's HumanEval.
        samples: completions to judge (JSONL), instead of generating any.
        save_samples: where generated completions go; a run that was stopped resumes from it.
        n: completions per problem; 1 is greedy unless a temperature is given.
        k: which pass@k to report; those above `n` are left out.
        temperature, top_p: of sampling; temperature None: 0.8, and 0 (greedy) where `n` is 1.
        max_new_tokens: longest completion.
        strip_prompt: take trailing white space off prompts of problems before generating.
        allow_code_execution: run what a model wrote, in limited child processes.
        timeout: processor seconds for one judged program. memory_mib: its address space.
        workers: programs judged at a time (None: one per processor).
        limit: at most so many problems, stubs and documents, the first ones.
        people: people-processing prompts of the second look (`generation`).
        looks: completions sampled for each of those.
        reference, config: which reality and which prompts the second look compares with.
        batch_size: sequences generated at a time, or `auto`.
        bootstrap: resamples behind every interval. seed: of everything random.
        revision, dtype, device, device_map, trust_remote_code: see `load_model`.
    """

    tasks: tuple[str, ...] = ("perplexity", "syntax")
    patch: Any = None
    text: Path | None = None
    dataset: str | None = None
    dataset_config: str | None = None
    split: str = "test"
    field: str = "content"
    documents: int = 200
    anchor: str | None = None
    window: int = 1024
    stride: int | None = None
    stubs: Path | None = None
    problems: Path | None = None
    samples: Path | None = None
    save_samples: Path | None = None
    n: int = 1
    k: tuple[int, ...] = (1, 10, 100)
    temperature: float | None = None
    top_p: float = 0.95
    max_new_tokens: int = 512
    strip_prompt: bool = False
    allow_code_execution: bool = False
    timeout: int = 3
    memory_mib: int = 1024
    workers: int | None = None
    limit: int | None = None
    people: int = 120
    looks: int = 10
    reference: str | Path = "bls-2022"
    config: str = "quick"
    batch_size: str = "auto"
    bootstrap: int = 1000
    seed: int = 0
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                raise UsageError(f"unknown task {task!r}; choose from {', '.join(TASKS)}")
        if not self.tasks:
            raise UsageError(f"no task given; choose from {', '.join(TASKS)}")
        if "humaneval" in self.tasks and not self.allow_code_execution:
            raise UsageError(
                "humaneval runs programs that a model wrote; allow it with --allow-code-execution "
                "(they run in limited child processes: isolation, not a security sandbox)"
            )
        positive = ("window", "n", "max_new_tokens", "timeout", "memory_mib", "documents")
        for name in (*positive, "people", "looks", "bootstrap"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give at least 1")
        for name in ("workers", "limit", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")
        if (self.stride or 1) > self.window:
            raise UsageError(
                f"stride {self.stride} is larger than window {self.window}; some tokens would "
                "not be scored"
            )
        if self.text is not None and self.dataset is not None:
            raise UsageError("give a text or a dataset, not both")
        if not self.k or any(k < 1 for k in self.k):
            raise UsageError("k must be one or more numbers from 1 on")
        if self.temperature is not None and not self.temperature >= 0:
            raise UsageError("temperature must be 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError("top_p must be above 0 and at most 1")
        if self.n > 1 and self.temperature == 0:
            raise UsageError(f"{self.n} greedy completions would be equal; give a temperature")
        if self.batch_size != "auto" and not (
            self.batch_size.isdecimal() and int(self.batch_size) > 0
        ):
            raise UsageError(f"batch size {self.batch_size!r} is neither auto nor a number above 0")

    @property
    def chosen_temperature(self) -> float:
        """The temperature of the completions that are judged; 0 is greedy."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.n == 1 else 0.8
