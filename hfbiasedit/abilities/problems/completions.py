"""Completions of programming problems by a model: saved as they come, resumed after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit import console
from hfbiasedit.abilities.generating.generation import (
    FUNCTION_STOPS,
    Completion,
    Request,
    Sampling,
    as_answers,
    complete,
    end_tokens,
)
from hfbiasedit.abilities.problems.reading import Problem, ProblemSet, Sample
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import read_json, write_json
from hfbiasedit.texts.jsonl import read_objects, text_field

if TYPE_CHECKING:
    from hfbiasedit.abilities.config import AbilityConfig
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch


def generate_samples(
    loaded: LoadedModel,
    problems: ProblemSet,
    config: AbilityConfig,
    side: str,
    patch: Patch | None,
) -> list[Sample]:
    """`config.n` completions of every problem, in the order of the problems.

    With `save_samples` every batch is appended to a file (`task_id`, `completion`, `sample`,
    `finish`) beside a description of the run; a later run of the same description goes on there.

    Raises:
        BiasEditError: the file belongs to another run, or a prompt is longer than the context.
    """
    path = sample_path(config, side, patch is not None)
    done: dict[str, str] = {}
    if path is not None:
        applied = patch.digest if patch and side == "after" else None
        done = _resume(path, _about(loaded, problems, config, applied))
    wanted = {
        f"{problem.task_id} sample {number}": (problem, number)
        for problem in problems.problems
        for number in range(config.n)
    }
    requests = [
        Request(key, _prompt(problem, config))
        for key, (problem, _) in wanted.items()
        if key not in done
    ]
    if config.chat:
        requests = as_answers(loaded, requests)
    sampling = Sampling(
        config.max_new_tokens,
        FUNCTION_STOPS,
        config.chosen_temperature,
        config.top_p,
        config.seed,
    )

    def keep(batch: list[Completion]) -> None:
        rows = []
        for completion in batch:
            problem, number = wanted[completion.key]
            done[completion.key] = completion.text
            row = {"task_id": problem.task_id, "completion": completion.text}
            rows.append({**row, "sample": number, "finish": completion.finish})
        if path is not None:
            with open(path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        bar.advance(len(batch))

    with console.progress(f"completions {side}", len(requests)) as bar:
        complete(loaded, requests, sampling, batch_size=config.batch_size, on_batch=keep)
    return [Sample(problem.task_id, done[key]) for key, (problem, _) in wanted.items()]


def _prompt(problem: Problem, config: AbilityConfig) -> str:
    return problem.prompt.rstrip() if config.strip_prompt else problem.prompt


def _about(
    loaded: LoadedModel, problems: ProblemSet, config: AbilityConfig, patch: str | None
) -> dict[str, Any]:
    """Everything that a completion depends on; files of another description are not resumed."""
    ends, own = end_tokens(loaded), loaded.tokenizer.eos_token_id
    return {
        "schema": "hfbiasedit.samples/1",
        "model": loaded.source.id,
        "commit": loaded.source.commit,
        "weights": loaded.identity,
        "patch": patch or loaded.patch_digest,
        "dtype": loaded.dtype,
        "problems": problems.sha256,
        "n": config.n,
        "temperature": config.chosen_temperature,
        "top_p": config.top_p,
        "max_new_tokens": config.max_new_tokens,
        "strip_prompt": config.strip_prompt,
        # What is usual as earlier versions said it, so that their files can be continued.
        **({"chat": True} if config.chat else {}),
        **({"quantized": loaded.quantized} if loaded.quantized else {}),
        # generation_config.json may name others, and is not among what `weights` is a digest of.
        **({"ends": ends} if ends != [own] else {}),
        "seed": config.seed,
    }


def _resume(path: Path, about: dict[str, Any]) -> dict[str, str]:
    """Completions that are there already, by key; the file is created when it is not."""
    description = path.with_name(path.name + ".about.json")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(description, about)
        path.touch()
        return {}
    found = read_json(description) if description.exists() else None
    if found != about:
        raise BiasEditError(
            f"{path} holds samples of another model, patch or settings; choose another file"
        )
    _drop_torn_line(path)
    done = {}
    for number, row in read_objects(path):
        where = f"{path} line {number}"
        key = f"{text_field(row, 'task_id', where)} sample {row.get('sample')}"
        done[key] = text_field(row, "completion", where)
    return done


def _drop_torn_line(path: Path) -> None:
    """Cut off what an interrupted run left of its last line."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)


def sample_path(config: AbilityConfig, side: str, patched: bool) -> Path | None:
    """Where the samples of one side are saved: `FILE`, or `FILE.before.jsonl` and `.after`."""
    if config.save_samples is None or not patched:
        return config.save_samples
    path = Path(config.save_samples)
    return path.with_name(f"{path.stem}.{side}{path.suffix or '.jsonl'}")
