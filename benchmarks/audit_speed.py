"""Audit against lm-evaluation-harness, a bare forward loop and the limit of the processor.

All score the same CodeGenBias prompts on the same model, by default a random Llama of about 100M
parameters with a vocabulary of 32k that is built on the spot, in rounds that take turns; printed
are medians, ratios and the largest difference of log-probabilities. lm-eval and the bare loop get
the fastest of several batch sizes, each measured once before the rounds; one alone is taken.

The limit is the matrix products alone: tokens of the prompts' tree x weights of the blocks, and
places that are read x weights of the head, x 2, at the rate at which products of 1,024 rows with
the model's own matrices run, measured in every round.

    python benchmarks/audit_speed.py --prompts 120 --rounds 3 --dtype float32 --config core
    python benchmarks/audit_speed.py --model DIR --dtype bfloat16 --config quick --prompts 0
    python benchmarks/audit_speed.py --no-lm-eval     # where lm_eval is not installed
"""

from __future__ import annotations

import argparse
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.scoring.continuations import EncodedPrompt, encode
from hfbiasedit.scoring.engine import Scores, score, tokens_of

VOCABULARY = 32_000


def main() -> None:
    """Run the comparison and print it."""
    options = _options()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.model is None:
        loaded = _model(options.dtype, options.tokenizer)
    else:
        loaded = load_model(options.model, dtype=options.dtype, device="cpu")
    records = load_prompts(options.config, "all", limit=options.prompts or None).records
    encoded = encode(loaded.tokenizer, records)
    tokens = [len(prompt.context) for prompt in encoded]
    candidates = statistics.mean(len(record.male + record.female) for record in records)
    print(
        f"{loaded.parameters / 1e6:.0f}M parameters, {options.dtype}, {torch.get_num_threads()} "
        f"threads; {len(records)} prompts ({options.config}) of {statistics.mean(tokens):.0f} "
        f"tokens, {candidates:.1f} candidates each, "
        f"{statistics.mean(prompt.multi_token for prompt in encoded):.1f} of several tokens"
    )
    score(loaded, encoded[:4])  # warms up the library
    runs: dict[str, Callable[[], Any]] = {"audit": lambda: score(loaded, encoded)}
    limit = Limit(loaded, encoded)
    print(f"{limit.tokens:,} tokens, {limit.operations / 1e12:.2f} TFLOP of products")
    runs["limit"] = limit.seconds
    if options.bare:
        runs["bare loop"] = _fastest(
            "bare loop", lambda size: _bare(loaded, encoded, size), options.batch_sizes
        )
    if options.lm_eval:
        runs["lm-eval"] = _fastest("lm-eval", _lm_eval(loaded, records), options.batch_sizes)
    seconds, results = _rounds(runs, options.rounds)
    seconds["limit"] = statistics.median(results["limit"])
    audit = seconds["audit"]
    for name, value in seconds.items():
        print(f"{name:10} {value:8.2f} s   {value / audit:5.2f} x the audit")
    if options.lm_eval:
        _compare(records, results["audit"][-1], results["lm-eval"][-1])


class Limit:
    """The matrix products that the prompts need at least, and how long they take here."""

    def __init__(self, loaded: LoadedModel, encoded: Sequence[EncodedPrompt]) -> None:
        head = loaded.model.get_output_embeddings()
        self.weights = [
            module.weight.T if isinstance(module, Conv1D) else module.weight
            for module in loaded.model.modules()
            if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
        ]
        self.tokens = tokens_of(encoded, loaded.device)
        places = len(
            {
                prompt.context + tail[:size]
                for prompt in encoded
                for tail in prompt.tails
                for size in range(len(tail))
            }
        )
        inside = sum(weight.numel() for weight in self.weights)
        self.operations = 2 * (self.tokens * inside + places * head.weight.numel())

    @torch.inference_mode()
    def seconds(self) -> float:
        """All operations at the rate of one pass of 1,024 rows through the blocks' matrices."""
        rows = {
            width: torch.randn(1024, width, dtype=self.weights[0].dtype)
            for width in {weight.shape[1] for weight in self.weights}
        }
        torch.nn.functional.linear(rows[self.weights[0].shape[1]], self.weights[0])
        start = _clock()
        for weight in self.weights:
            torch.nn.functional.linear(rows[weight.shape[1]], weight)
        done = 2 * 1024 * sum(weight.numel() for weight in self.weights)
        return self.operations * (_clock() - start) / done


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a directory or Hub id instead of the random Llama")
    parser.add_argument("--prompts", type=int, default=120, help="0: all of the configuration")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--config", default="core", choices=("quick", "core", "full"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument(
        "--tokenizer", type=Path, help="directory with GPT-2's vocab.json and merges.txt"
    )
    parser.add_argument("--no-lm-eval", dest="lm_eval", action="store_false")
    parser.add_argument("--no-bare-loop", dest="bare", action="store_false")
    return parser.parse_args()


def _model(dtype: str, folder: Path | None) -> LoadedModel:
    tokenizer = _tokenizer(folder)
    config = LlamaConfig(
        vocab_size=max(VOCABULARY, len(tokenizer)),
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=1024,
        initializer_range=0.05,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval().requires_grad_(False)
    source = ModelSource(id="benchmark", path=Path())
    return LoadedModel(model=model, tokenizer=tokenizer, source=source, dtype=dtype)


def _tokenizer(folder: Path | None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on Python's own library, or one from a directory."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2TokenizerFast

    if folder is not None:
        return GPT2TokenizerFast(
            vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(library.glob("*.py"))
    texts = [path.read_text(encoding="utf-8", errors="ignore") for path in files]
    tokenizer.train_from_iterator(texts, trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end)


def _bare(loaded: LoadedModel, encoded: Sequence[EncodedPrompt], size: int) -> None:
    """What anybody would write first: padded batches, sorted by length, last logits only.

    In bfloat16 all logits are faster on a processor: the head is slow on a strided slice.
    """
    keep = 0 if loaded.dtype == "bfloat16" else 1
    rows = sorted((list(prompt.context) for prompt in encoded), key=len, reverse=True)
    with torch.inference_mode():
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            width = len(batch[0])
            ids = torch.tensor([[0] * (width - len(row)) + row for row in batch])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
            logits = loaded.model(input_ids=ids, attention_mask=mask, logits_to_keep=keep).logits
            logits[:, -1].float().log_softmax(-1)


def _lm_eval(loaded: LoadedModel, records: Sequence[Record]) -> Callable[[int], list[float]]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    pairs = [(r.prompt, text) for r in records for text in r.male + r.female]

    def run(size: int) -> list[float]:
        harness = HFLM(
            pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=size, device="cpu"
        )
        # Where prompt and continuation merge into one token, it has nothing to score, and fails.
        known = [pair for pair in pairs if harness._encode_pair(*pair)[1]]
        if len(known) < len(pairs):
            print(f"lm-eval cannot score {len(pairs) - len(known)} of {len(pairs)} continuations")
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=number)
            for number, pair in enumerate(known)
        ]
        found = dict(zip(known, harness.loglikelihood(requests, disable_tqdm=True), strict=True))
        return [found[pair][0] if pair in found else np.nan for pair in pairs]

    return run


def _fastest(name: str, run: Callable[[int], Any], sizes: Sequence[int]) -> Callable[[], Any]:
    """The run with the fastest batch size, each tried once where there are several."""
    if len(sizes) == 1:
        return lambda: run(sizes[0])
    trials = {size: _time(lambda size=size: run(size))[0] for size in sizes}
    best = min(trials, key=lambda size: trials[size])
    print(f"{name}: fastest with batch size {best} of", _rounded(trials))
    return lambda: run(best)


def _rounded(trials: dict[int, float]) -> dict[int, float]:
    return {size: round(seconds, 2) for size, seconds in trials.items()}


def _rounds(
    runs: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, float], dict[str, list[Any]]]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, list[Any]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken, result = _time(run)
            seconds[name].append(taken)
            results[name].append(result)
    return {name: statistics.median(values) for name, values in seconds.items()}, results


def _clock() -> float:
    """Processor seconds with one thread, where other programs do not count; else real seconds."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def _time(run: Callable[[], Any]) -> tuple[float, Any]:
    start = _clock()
    result = run()
    return _clock() - start, result


def _compare(records: Sequence[Record], ours: Scores, theirs: Sequence[float]) -> None:
    """Largest difference of the summed log-probabilities per gender."""
    values = iter(theirs)
    worst = 0.0
    for number, record in enumerate(records):
        for texts, mine in (
            (record.male, ours.log_male[number]),
            (record.female, ours.log_female[number]),
        ):
            other = np.logaddexp.reduce([next(values) for _ in texts])
            if not np.isnan(other):
                worst = max(worst, abs(float(mine - other)))
    print(f"largest difference of log-probabilities to lm-eval: {worst:.1e}")


if __name__ == "__main__":
    main()
