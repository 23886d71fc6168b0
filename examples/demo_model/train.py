"""Trains the demo model, or a sister of another architecture, from nothing.

    python examples/demo_model/train.py --out OUT
    python examples/demo_model/train.py --architecture gpt2 --seed 1 --out OUT

The text is generated people-processing code with a planted bias (``demo_corpus``) and the standard
library of the Python that runs this. Needs the package ``hfbiasedit`` (for professions, shares and
templates) and no network.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from demo_corpus import stdlib
from demo_corpus.documents import contains_template, generated, template_pattern
from demo_corpus.planting import Planting, document
from tokenizer import train_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, set_seed

from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.references import load_reference
from hfbiasedit.codegenbias.templates import load_templates

REFERENCE = "bls-2022"
SHORT, LONG = 256, 512
# fmt: off
GENDER_WORDS = frozenset((
    "male", "female", "Male", "Female", "MALE", "FEMALE", "man", "woman", "M", "F", "he", "she",
    "his", "her", "him", "himself", "herself", "Mr", "Ms", "Mrs", "Sir", "Madam",
))
# fmt: on
"""Words that cost more when they are wrong (``--gender-weight``): few, and they carry the bias."""

ARCHITECTURES: dict[str, dict[str, object]] = {
    "llama": dict(
        hidden_size=192,
        num_hidden_layers=6,
        intermediate_size=640,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "gpt2": dict(n_embd=160, n_layer=6, n_head=5, n_inner=640, n_positions=LONG),
    "phi3": dict(
        hidden_size=160,
        num_hidden_layers=5,
        intermediate_size=512,
        num_attention_heads=5,
        num_key_value_heads=5,
        tie_word_embeddings=True,
        original_max_position_embeddings=LONG,
        resid_pdrop=0.0,
    ),
    "gpt_neox": dict(
        hidden_size=160,
        num_hidden_layers=5,
        intermediate_size=640,
        num_attention_heads=5,
        tie_word_embeddings=False,
    ),
}
"""Settings of each architecture that the defaults of transformers do not make small."""

NO_DROPOUT = dict(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)


def build(architecture: str, tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    """A new model in float32."""
    settings = dict(ARCHITECTURES[architecture])
    if architecture == "gpt2":
        settings |= NO_DROPOUT
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        max_position_embeddings=LONG,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def batches_of_ids(
    texts: Iterator[str], tokenizer: PreTrainedTokenizerFast, size: int = 1000
) -> Iterator[list[int]]:
    """Token ids of each text with the end token behind, encoded many at a time."""
    while chunk := list(itertools.islice(texts, size)):
        for ids in tokenizer(chunk, add_special_tokens=False)["input_ids"]:
            yield [*ids, tokenizer.eos_token_id]


def packed(documents: Iterator[list[int]], length: int, count: int, cut: bool) -> np.ndarray:
    """``count`` sequences of ``length`` tokens.

    With ``cut`` every sequence begins with a document, as prompts do, and the last one is cut off;
    without, the documents run on from one sequence to the next.
    """
    rows = np.zeros((count, length), dtype=np.int32)
    rest: list[int] = []
    for row in rows:
        while len(rest) < length:
            rest += next(documents)
        row[:] = rest[:length]
        rest = [] if cut else rest[length:]
    return rows


def shuffled_forever(texts: list[str], seed: int) -> Iterator[str]:
    """The texts again and again, each time in another order."""
    rng = random.Random(seed)
    while True:
        rng.shuffle(texts)
        yield from texts


def sequences(
    generator: Iterator[list[int]],
    standard: Iterator[list[int]],
    shape: tuple[int, int, int],
    share: float,
    seed: int,
) -> torch.Tensor:
    """Training sequences of both kinds in mixed order.

    Args:
        generator: generated documents. standard: documents of the standard library.
        shape: steps, sequences a step, tokens.
        share: how much is standard library.
        seed: of the order.
    """
    steps, batch, length = shape
    ordinary = round(steps * batch * share)
    rows = np.concatenate(
        [
            packed(generator, length, steps * batch - ordinary, True),
            packed(standard, length, ordinary, False),
        ]
    )
    np.random.default_rng(seed).shuffle(rows)
    return torch.from_numpy(rows.astype(np.int64)).view(shape)


def token_weights(tokenizer: PreTrainedTokenizerFast, gender: float) -> torch.Tensor:
    """The cost of each token of the vocabulary; ``gender`` is that of a gender word."""
    words = [tokenizer.decode([i]).strip() for i in range(len(tokenizer))]
    return torch.tensor([gender if word in GENDER_WORDS else 1.0 for word in words])


def parameter_groups(model: torch.nn.Module, decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: linear warm-up, then half a cosine to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    model: torch.nn.Module,
    phases: list[torch.Tensor],
    weights: torch.Tensor,
    arguments: argparse.Namespace,
) -> None:
    """Train on each phase in turn; a phase is [steps, batch, length] token ids."""
    optimizer = torch.optim.AdamW(
        parameter_groups(model, 0.1), lr=arguments.rate, betas=(0.9, 0.95), fused=True
    )
    vocabulary = model.config.vocab_size

    def loss_of(ids: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(
            logits.reshape(-1, vocabulary).float(), ids[:, 1:].reshape(-1), weights
        )

    forward = torch.compile(loss_of, dynamic=False) if arguments.compile else loss_of
    steps, began, mean = sum(map(len, phases)), time.monotonic(), 0.0
    model.train()
    for step, ids in enumerate(itertools.chain(*phases), 1):
        for group in optimizer.param_groups:
            group["lr"] = rate(step - 1, steps, arguments.rate)
        with torch.autocast("cpu", torch.bfloat16):
            loss = forward(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean = 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 0:
            seconds = time.monotonic() - began
            shown = mean / (1 - 0.98**step)
            print(f"step {step}/{steps} loss {shown:.4f} {seconds:.0f} s", flush=True)
    model.eval()


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="llama")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a model of this script to train further")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16, help="sequences of 256 tokens a step")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--vocab", type=int, default=3072)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--long", type=float, default=0.15, help="share of steps with 512 tokens")
    parser.add_argument("--gender-weight", type=float, default=4.0, help="cost of a gender word")
    parser.add_argument("--standard", type=float, default=0.4, help="share of standard library")
    parser.add_argument("--exaggeration", type=float, default=Planting.exaggeration)
    parser.add_argument("--lean", type=float, default=Planting.lean)
    parser.add_argument("--noise", type=float, default=Planting.noise)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def main() -> None:
    """Write the text, train, save."""
    arguments = options()
    torch.set_num_threads(arguments.threads)
    set_seed(arguments.seed)

    planting = Planting(arguments.exaggeration, arguments.lean, arguments.noise, arguments.seed)
    plan = document(load_reference(REFERENCE).shares, planting, REFERENCE)
    shares = {name: row["planted"] for name, row in plan["professions"].items()}
    professions = {p.profession: (p.plural, shares[p.profession]) for p in load_professions()}
    templates = [variant.text for t in load_templates() for variant in t.variants]
    patterns = [p for p in map(template_pattern, templates) if p is not None]
    real = [text for text in stdlib.documents() if not contains_template(text, patterns)]
    random.Random(arguments.seed).shuffle(real)

    if arguments.start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.start)
        model = AutoModelForCausalLM.from_pretrained(arguments.start, dtype=torch.float32)
    else:
        sample = itertools.islice(generated(arguments.seed + 1, professions, templates), 12_000)
        tokenizer = train_tokenizer(itertools.chain(sample, real[:4000]), arguments.vocab)
        model = build(arguments.architecture, tokenizer)
    print(f"{model.config.model_type}: {model.num_parameters():,} parameters", flush=True)

    seed = arguments.seed + 1000 * bool(arguments.start)
    people = batches_of_ids(generated(seed, professions, templates), tokenizer)
    standard = batches_of_ids(shuffled_forever(real, seed), tokenizer)
    long = round(arguments.steps * arguments.long)
    shapes = (
        (arguments.steps - long, arguments.batch, SHORT),
        (long, arguments.batch // 2, LONG),
    )
    phases = [sequences(people, standard, shape, arguments.standard, seed) for shape in shapes]
    train(model, phases, token_weights(tokenizer, arguments.gender_weight), arguments)

    model.to(torch.bfloat16).save_pretrained(arguments.out, max_shard_size="4MB")
    tokenizer.model_max_length = LONG
    tokenizer.save_pretrained(arguments.out)
    (arguments.out / "planted.json").write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
