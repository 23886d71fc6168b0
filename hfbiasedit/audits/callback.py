"""The FB-Score during training, as a callback of the transformers trainer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from hfbiasedit.audits.auditor import audit
from hfbiasedit.audits.config import AuditConfig

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
    from typing_extensions import Unpack

    from hfbiasedit.audits.config import AuditOverrides
    from hfbiasedit.audits.report import AuditReport


class FBScoreCallback(TrainerCallback):
    """Measures and logs the FB-Score of the model whenever the trainer evaluates it.

        trainer.add_callback(FBScoreCallback(trainer, limit=200))

    `eval_fb_score`, `eval_fb_lean` and `eval_gender_mass` then stand beside `eval_loss`: in the
    history, in every tracker (those that `report_to` names), and in the metrics, so that
    `metric_for_best_model="eval_fb_score", greater_is_better=False` chooses by them. Without a
    trainer they reach the history and the metrics only.

    One process measures, and needs the whole model: weights that are spread over processes (FSDP,
    ZeRO 3) cannot be measured in training; audit their checkpoints.

    Attributes:
        report: The last audit.
    """

    def __init__(
        self,
        trainer: Trainer | None = None,
        config: AuditConfig | str | None = None,
        *,
        tokenizer: Any = None,
        **overrides: Unpack[AuditOverrides],
    ) -> None:
        """Make a callback.

        Args:
            trainer: takes the scores.
            config: what is measured, as for `audit`; `overrides` replace options of it.
            tokenizer: by default the trainer's `processing_class`.
        """
        chosen = AuditConfig(config=config) if isinstance(config, str) else config or AuditConfig()
        self.trainer, self.tokenizer = trainer, tokenizer
        self.config = replace(chosen, **overrides)
        self.report: AuditReport | None = None

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: Any = None,
        processing_class: Any = None,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Measure the model as it is now."""
        if not state.is_world_process_zero:
            return
        tokenizer = self.tokenizer if self.tokenizer is not None else processing_class
        self.report = audit(model, self.config, tokenizer=tokenizer)
        document = self.report.to_dict()
        scores = {
            "eval_fb_score": document["fb_score"],
            "eval_fb_lean": document["lean"],
            "eval_gender_mass": document["gender_mass"],
        }
        if metrics is not None:
            metrics.update(scores)
        if self.trainer is not None:
            self.trainer.log(dict(scores))
        else:
            state.log_history.append({**scores, "epoch": state.epoch, "step": state.global_step})
