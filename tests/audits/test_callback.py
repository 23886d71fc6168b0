"""The FB-Score during training, with the trainer of transformers."""

import pytest
from transformers import Trainer, TrainerCallback, TrainingArguments

from hfbiasedit import FBScoreCallback, audit
from tests.scoring.worlds import records, write_prompts
from tests.tiny import tiny_model, tiny_tokenizer

pytest.importorskip("accelerate")


class Tracker(TrainerCallback):
    """What trackers such as TensorBoard see."""

    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, logs=None, **_):
        self.seen.append(dict(logs))


@pytest.fixture
def trainer(tmp_path):
    tokenizer = tiny_tokenizer(pad=True)
    ids = tokenizer("# The engineer finished his report")["input_ids"]
    rows = [{"input_ids": ids, "labels": ids}] * 4
    arguments = TrainingArguments(
        tmp_path / "out",
        max_steps=4,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        learning_rate=0.05,
        per_device_train_batch_size=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_fb_score",
        greater_is_better=False,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    return Trainer(
        tiny_model("llama"),
        arguments,
        train_dataset=rows,
        eval_dataset=rows[:1],
        processing_class=tokenizer,
    )


def test_scores_are_logged_and_choose_the_best_model(trainer, tmp_path):
    prompts = write_prompts(tmp_path / "prompts.jsonl", records())
    tracker, score = Tracker(), FBScoreCallback(trainer, prompts=prompts, samples=50)
    trainer.add_callback(tracker)
    trainer.add_callback(score)
    before = audit(trainer.model, tokenizer=tiny_tokenizer(), prompts=prompts, samples=50)
    trainer.train()
    history = [row for row in trainer.state.log_history if "eval_fb_score" in row]
    assert [row["step"] for row in history] == [2, 4]
    assert [row["eval_fb_score"] for row in tracker.seen if "eval_fb_score" in row] == [
        row["eval_fb_score"] for row in history
    ]
    assert score.report.fb_score == history[-1]["eval_fb_score"] != before.fb_score
    assert trainer.state.best_metric == min(row["eval_fb_score"] for row in history)
    now = audit(trainer.model, tokenizer=tiny_tokenizer(), prompts=prompts, samples=50)
    assert now.fb_score == pytest.approx(trainer.state.best_metric, abs=1e-6)


def test_without_a_trainer_the_history_has_them(trainer, tmp_path):
    prompts = write_prompts(tmp_path / "prompts.jsonl", records())
    trainer.add_callback(FBScoreCallback(prompts=prompts, samples=50))
    metrics = trainer.evaluate()
    assert trainer.state.log_history[-1]["eval_fb_score"] == metrics["eval_fb_score"]
    assert 0 < metrics["eval_gender_mass"] < 1
