"""`audit`: from a model and a choice of prompts to a report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit import console, processes
from hfbiasedit.audits.config import AuditConfig, AuditOverrides
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.live import borrowed
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.models.quantising import check_quantiser, quantise
from hfbiasedit.models.resolution import local_model
from hfbiasedit.patches.finding import find_patch
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.scoring.extensions import ENGINE
from hfbiasedit.tracking import tracked

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from typing_extensions import Unpack

    from hfbiasedit.audits.report import AuditReport
    from hfbiasedit.audits.resumption import PartialFile
    from hfbiasedit.codegenbias.prompts import PromptSet
    from hfbiasedit.scoring.scorer import Subject

# What of a report a tracker gets.
_TRACKED = (
    "fb_score", "ci95", "lean", "lean_ci95", "amplification", "amplification_ci95", "parity_gap",
    "gender_mass", "low_mass_share", "seconds",
)  # fmt: skip


def audit(
    model: str | Path | LoadedModel | PreTrainedModel,
    config: AuditConfig | str | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **overrides: Unpack[AuditOverrides],
) -> AuditReport:
    """Measure how far the genders a model writes for occupations lie from the reference.

    Args:
        model: Hub id, local directory, or a model in memory: one of `load_model`, or any causal
            language model of transformers (its dtype, device and patch then stand; it may be in
            training, and is as it was when this returns).
        config: Options, or the name of a prompt configuration. `overrides` replace single options:
            `audit("org/name", "core", split="test")`.
        tokenizer: That of a model of transformers.

    Raises:
        BiasEditError: The model, the options or a file cannot be used, in one line.
    """
    if not isinstance(model, str | Path | LoadedModel):
        with borrowed(model, tokenizer) as lent:
            return audit(lent, config, **overrides)
    if tokenizer is not None:
        raise UsageError("a tokenizer is given for a model of transformers only; leave it out")
    start = time.perf_counter()
    chosen = AuditConfig(config=config) if isinstance(config, str) else config or AuditConfig()
    config = replace(chosen, **overrides)
    with tracked(config.track if processes.rank() == 0 else None, "audit", model, config) as log:
        report = _audited(model, config, start)
        document: Mapping[str, Any] = report.document
        log({"audit": {name: document[name] for name in _TRACKED}}, None)
    return report


def _audited(model: str | Path | LoadedModel, config: AuditConfig, start: float) -> AuditReport:
    """The audit itself, with its output; `start` is when it began (`time.perf_counter`)."""
    from hfbiasedit.audits.output import write_output

    subject, prompts, partial = processes.everywhere(lambda: _prepared(model, config))
    report = measure(
        subject,
        prompts,
        batch_size=config.batch_size,
        seed=config.seed,
        samples=config.samples,
        backend=config.backend,
        chat=config.chat,
        partial=partial,
        resume=config.resume,
        started=start,
    )
    if config.out is not None:
        out = Path(config.out)
        processes.by_the_first(lambda: write_output(report, out, config.records))
    if partial is not None:
        partial.remove()
    return report


def _prepared(
    model: str | Path | LoadedModel, config: AuditConfig
) -> tuple[Subject, PromptSet, PartialFile | None]:
    """Model, prompts and the partial file of an audit, checked and loaded."""
    from hfbiasedit.audits.output import check_output

    number, count = processes.team()
    if number == 0:
        check_output(config.out)
    _check_inputs(model, config)
    if count > 1 and (config.resume or config.backend != ENGINE):
        asked = "--resume" if config.resume else f"--backend {config.backend}"
        raise UsageError(f"{asked} is for one process; leave it out, or the launcher")
    prompts = _prompts(config)
    subject = _subject(model, config)
    # What one of several processes has is a part of what is done, so no file is kept.
    partial = _partial_file(model, subject, prompts, config) if count == 1 else None
    return subject, prompts, partial


def check_audit(model: str | Path, config: AuditConfig) -> None:
    """Refuse what an audit cannot be made with, as far as options and files tell.

    Nothing is loaded, and a model of the Hub is not looked up.

    Raises:
        BiasEditError: the model, the output, the patch or the prompts cannot be used.
    """
    from hfbiasedit.audits.output import check_output
    from hfbiasedit.scoring.scorer import connects

    check_output(config.out)
    if not connects(config.backend):
        local_model(model, config.revision)
    _check_inputs(model, config)
    _prompts(replace(config, limit=1))


def _prompts(config: AuditConfig) -> PromptSet:
    from hfbiasedit.codegenbias.prompts import load_prompts

    return load_prompts(
        config.config,
        config.split,
        reference=config.reference,
        prompts=config.prompts,
        professions=config.professions,
        limit=config.limit,
        seed=config.seed,
    )


def measure(
    subject: Subject,
    prompts: PromptSet,
    *,
    batch_size: int | str = "auto",
    seed: int = 0,
    samples: int = 2000,
    backend: str = ENGINE,
    chat: bool = False,
    partial: PartialFile | None = None,
    resume: bool = False,
    started: float | None = None,
) -> AuditReport:
    """Audit a model that is loaded, with prompts that are at hand.

    Two calls with the same prompts and batch size run through the same batches, whatever the
    model's weights; that is what makes before and after comparable in low precision.

    Args:
        subject: The model.
        prompts: The prompts.
        batch_size: Prompts per forward pass, or `auto`.
        seed: Seed of the bootstrap.
        samples: Bootstrap resamples.
        backend: What log-probabilities come from.
        chat: Whether prompts are asked through the chat template.
        partial: Takes results on the way; kept when the call is interrupted.
        resume: Whether to continue from `partial`.
        started: `time.perf_counter()` at the start, when more than this call is to be timed.
    """
    from hfbiasedit.audits.breakdowns import PromptScores
    from hfbiasedit.audits.report import build_report
    from hfbiasedit.scoring.asking import asked
    from hfbiasedit.scoring.scorer import backend_of, scorer_of

    start = time.perf_counter() if started is None else started
    scoring = scorer_of(backend, subject, asked(subject.tokenizer, prompts.records, chat))
    known = partial.resume() if partial is not None and resume else None
    on_batch = partial.add if partial is not None else None
    with _kept(partial), console.progress("scoring prompts", len(prompts)) as bar:
        scores = scoring.score(batch_size=batch_size, progress=bar, known=known, on_batch=on_batch)
        noise = scoring.noise(scores)
    return build_report(
        subject,
        prompts,
        PromptScores.of(prompts.records, scores.log_male, scores.log_female),
        plan=scores.plan,
        noise=noise,
        backend=backend_of(backend, scoring, noise),
        chat=chat,
        seconds=time.perf_counter() - start,
        seed=seed,
        samples=samples,
    )


@contextmanager
def _kept(partial: PartialFile | None) -> Iterator[None]:
    """Whatever interrupts the block, say where the results so far are."""
    try:
        yield
    except BaseException:
        if partial is not None and partial.written:
            console.message(f"results so far are kept in {partial.path}; continue with --resume")
        raise
    finally:
        if partial is not None:
            partial.close()


def _check_inputs(model: str | Path | LoadedModel, config: AuditConfig) -> None:
    """Refuse before the model is loaded what cannot be used after it."""
    from hfbiasedit.scoring.scorer import connects

    if isinstance(model, LoadedModel):
        if config.patch is not None or config.revision is not None:
            raise BiasEditError(
                "the model is loaded already; give patch and revision to load_model"
            )
        if config.gguf is not None:
            raise UsageError("the model is loaded already; give gguf to load_model")
        if config.quantize is not None:
            raise UsageError(
                "the model is loaded already; give its name, or use models.quantising.quantise"
            )
        if connects(config.backend):
            raise UsageError(f"the backend {config.backend} holds models itself; give a name")
        return
    if config.patch is not None:
        if connects(config.backend):
            raise UsageError(
                f"the backend {config.backend} holds models itself, and no patch can be put into "
                "them; write the patched model with `hfbiasedit patch apply`, and audit that"
            )
        Patch.load(find_patch(config.patch))
    if config.quantize is not None:
        if connects(config.backend):
            raise UsageError(
                f"the backend {config.backend} holds models itself; let it quantise, and leave "
                "--quantize out"
            )
        check_quantiser()
    if config.gguf is not None and connects(config.backend):
        raise UsageError(
            f"the backend {config.backend} holds models itself; name the file in --backend-args"
        )
    path = config.partial_path
    if config.resume and path is not None and not path.is_file():
        raise BiasEditError(f"nothing to resume: {path} does not exist; audit without --resume")


def _subject(model: str | Path | LoadedModel, config: AuditConfig) -> Subject:
    """The model as the backend takes it."""
    from hfbiasedit.scoring.scorer import connected, connects

    if isinstance(model, LoadedModel):
        return model
    if connects(config.backend):
        return connected(model, config)
    return quantise(with_patch(load_model(model, config), config.patch), config.quantize)


def _partial_file(
    model: str | Path | LoadedModel, subject: Subject, prompts: PromptSet, config: AuditConfig
) -> PartialFile | None:
    """The partial file of an audit; none for a model whose weights may have changed in memory."""
    from hfbiasedit.audits.identity import identity
    from hfbiasedit.audits.resumption import PartialFile

    path = config.partial_path
    if path is None or model is subject:
        if config.resume:
            raise BiasEditError(
                "resume needs a partial file and a model from disk or the Hub; "
                "give the model's name and `out` or `partial`"
            )
        return None
    expected = identity(subject, prompts.digest, config.batch_size, config.backend, config.chat)
    return PartialFile(path, expected, len(prompts))
