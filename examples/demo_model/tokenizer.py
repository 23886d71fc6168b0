"""A byte-level BPE tokenizer trained on the documents of the demo model."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"

# Words with one space or underscore in front, up to three digits, runs of punctuation, line ends,
# and indentation. Letters never merge with punctuation, so that a quoted value begins with a
# token of its own.
SPLIT = r"[ _]?[A-Za-z]+|[0-9]{1,3}| ?[^\sA-Za-z0-9_]+|_+|\n+|[ \t]+(?=\S)|\s+"


def train_tokenizer(documents: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer with ``size`` entries; ``END`` separates documents and pads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )
