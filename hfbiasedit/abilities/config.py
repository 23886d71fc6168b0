"""Options of `ability`; the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.abilities.extensions import TASKS
from hfbiasedit.codegenbias.configs import CONFIGS
from hfbiasedit.codegenbias.options import ReferenceOptions, ReferenceOverrides, check_config
from hfbiasedit.errors import UsageError
from hfbiasedit.fields import check_batch_size, documented, option
from hfbiasedit.models.options import CHAT, MeasuringOptions, MeasuringOverrides
from hfbiasedit.tracking import TrackingOptions, TrackingOverrides

HUMANEVAL = "openai/openai_humaneval"


@documented
@dataclass(frozen=True, kw_only=True)
class AbilityConfig(ReferenceOptions, MeasuringOptions, TrackingOptions):
    """What is measured, and how."""

    tasks: tuple[str, ...] = option(
        ("perplexity", "syntax"),
        f"Any of {', '.join(TASKS)}.",
        note="An installed package may add others.",
        choices=TASKS.names,
        check=lambda _, name: TASKS.check(name),
    )
    patch: Any = option(
        None,
        "Measure before and after this patch.",
        note="A file, a run directory, a Hub id or a `Patch`; the model is loaded once.",
        kind=Path,
    )
    text: Path | None = option(
        None, "File or folder of code for perplexity.", note="None: the corpus that ships."
    )
    dataset: str | None = option(None, "Hub dataset for perplexity.")
    dataset_config: str | None = option(None, "Its configuration.")
    split: str = option("test", "Its split.")
    field: str = option("content", "Its column of code.")
    documents: int = option(200, "Documents taken from it.", least=1)
    anchor: str | None = option(
        None,
        "What the edit was anchored on, if not the default.",
        note="The text of `perplexity` must not overlap with it.",
    )
    window: int = option(1024, "Tokens of a window.", note="At most the model's context.", least=1)
    stride: int | None = option(None, "Tokens it moves on by; default: half of it.", least=1)
    stubs: Path | None = option(
        None,
        "Function stubs for syntax (JSONL: name, prompt).",
        note="None: those that ship.",
    )
    allow_code_execution: bool = option(
        False,
        "Run what the model wrote, in limited child processes (isolation, not a sandbox).",
    )
    problems: Path | None = option(
        None,
        "Problems in the layout of HumanEval (.jsonl[.gz]).",
        note="None: the Hub's HumanEval.",
    )
    samples: Path | None = option(None, "Judge these completions (.jsonl[.gz]); no MODEL.")
    save_samples: Path | None = option(None, "Save completions here, and resume from here.")
    n: int = option(1, "Completions per problem.", flags=("-n",), least=1)
    k: tuple[int, ...] = option(
        (1, 10, 100), "Which pass@k.", note="Those above `n` are left out.", flags=("-k",), least=1
    )
    temperature: float | None = option(
        None, "0 is greedy; default: 0 for one completion, else 0.8.", least=0
    )
    top_p: float = option(0.95, "Nucleus of sampling.")
    max_new_tokens: int = option(512, "Longest completion.", note="In tokens.", least=1)
    chat: bool = option(False, CHAT, note="Perplexity is not asked.", flags=("--chat",))
    strip_prompt: bool = option(False, "No white space at the end of problems' prompts.")
    timeout: int = option(3, "Processor seconds for one judged program.", least=1)
    memory_mib: int = option(1024, "Address space of one judged program.", note="In MiB.", least=1)
    workers: int | None = option(
        None, "Programs judged at a time; default: one per processor.", least=1
    )
    limit: int | None = option(None, "Only the first documents, stubs, problems.", least=1)
    people: int = option(120, "Prompts of the second look.", least=1)
    looks: int = option(10, "Completions of each of them.", least=1)
    config: str = option(
        "quick",
        "Configuration of the prompts that the second look compares with.",
        choices=CONFIGS,
        check=check_config,
        hidden=True,
    )
    batch_size: int | str = option(
        "auto",
        "auto (halves when memory runs out) or a number of sequences.",
        check=check_batch_size,
    )
    bootstrap: int = option(1000, "Resamples behind every interval.", least=1, hidden=True)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself before anything is loaded."""
        super().__post_init__()
        if not self.tasks:
            raise UsageError(f"no task given; choose from {', '.join(TASKS)}")
        running = [name for name in self.tasks if getattr(TASKS.load(name), "runs_code", False)]
        if running and not self.allow_code_execution:
            raise UsageError(
                f"{running[0]} runs programs that a model wrote; allow it with "
                "--allow-code-execution (they run in limited child processes: isolation, not a "
                "security sandbox)"
            )
        if (self.stride or 1) > self.window:
            raise UsageError(
                f"stride {self.stride} is larger than window {self.window}; some tokens would "
                "not be scored"
            )
        if self.text is not None and self.dataset is not None:
            raise UsageError("give a text or a dataset, not both")
        if self.save_samples is not None and Path(self.save_samples).suffix == ".gz":
            raise UsageError(
                f"completions are appended line by line, uncompressed; name the file to save them "
                f"in {Path(self.save_samples).stem}"
            )
        if not self.k:
            raise UsageError("k must be one or more numbers from 1 on")
        if not 0 < self.top_p <= 1:
            raise UsageError("top_p must be above 0 and at most 1")
        if self.n > 1 and self.temperature == 0:
            raise UsageError(f"{self.n} greedy completions would be equal; give a temperature")

    @property
    def chosen_temperature(self) -> float:
        """The temperature of the completions that are judged; 0 is greedy."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.n == 1 else 0.8


class AbilityOverrides(ReferenceOverrides, MeasuringOverrides, TrackingOverrides, total=False):
    """`AbilityConfig` as keywords (`config` is the argument of that name)."""

    tasks: tuple[str, ...]
    patch: Any
    text: Path | None
    dataset: str | None
    dataset_config: str | None
    split: str
    field: str
    documents: int
    anchor: str | None
    window: int
    stride: int | None
    stubs: Path | None
    allow_code_execution: bool
    problems: Path | None
    samples: Path | None
    save_samples: Path | None
    n: int
    k: tuple[int, ...]
    temperature: float | None
    top_p: float
    max_new_tokens: int
    chat: bool
    strip_prompt: bool
    timeout: int
    memory_mib: int
    workers: int | None
    limit: int | None
    people: int
    looks: int
    batch_size: int | str
    bootstrap: int
