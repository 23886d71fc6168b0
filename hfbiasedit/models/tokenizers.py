"""Loading the tokenizer of a model, and making sure that it is the model's own and knows code.

A wrong tokenizer does not fail: it gives other tokens, and every score with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.console import warn
from hfbiasedit.errors import BiasEditError, first_line
from hfbiasedit.hub.source import ModelSource

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FILE = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
#: Code with what tokenizers differ in: indents, runs of digits, letter case, contractions,
#: punctuation in a row, line ends, other scripts.
_SAMPLES = (
    'def area(width, height):\n    """Don\'t round."""\n    return width * height  # 12345.678\n',
    'if person.job == "nurse" and person.gender == "female":\n\t\tcount += 1\n\n\n',
    '{"name": "Ann", "isActive": true, "ids": [1, 22, 333, 4444, 55555]}\r\n',
    "SELECT * FROM staff WHERE job_title = 'TEACHER' AND sex <> 'F';  --  it's 2024-01-31",
    "x = naïve != 'Größe' ? \"日本語 🙂\" : [[]];   \n",
)


def load_tokenizer(source: ModelSource, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Where the class that the configuration names cuts texts in another way than `tokenizer.json`
    says, the file is right: the model was trained with it. Warns then, and where the tokenizer
    does not know a part of common code.

    Raises:
        BiasEditError: there is none, or it cannot be used.
    """
    from transformers import AutoTokenizer

    place: tuple[Path, dict[str, str]] = (source.path, {})
    if is_inside(source):
        assert source.gguf is not None
        place = (source.gguf.absolute().parent, {"gguf_file": source.gguf.name})
    try:
        loaded = AutoTokenizer.from_pretrained(
            place[0], trust_remote_code=trust_remote_code, **place[1]
        )
    except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError) as error:
        # What describes a tokenizer is none: its tokens are in a file of their own.
        found = {path.name for path in _tokenizer_files(source.path)} - {_CONFIG}
        if source.gguf is None and not found:
            raise BiasEditError(
                f"{source.id} has no tokenizer files that hold tokens, such as {_FILE}; copy those "
                "of its base model into it"
            ) from error
        raise BiasEditError(
            f"cannot load the tokenizer of {source.id}: {first_line(error)}"
        ) from error
    tokenizer = _as_in_file(source, loaded)
    _check_code(source, tokenizer)
    return tokenizer


def is_inside(source: ModelSource) -> bool:
    """Whether the tokenizer is the one in a GGUF file: the model has none of its own."""
    return source.gguf is not None and not any(_tokenizer_files(source.path))


def _tokenizer_files(path: Path) -> Iterator[Path]:
    for pattern in ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "merges.txt", "tekken.json"):
        yield from path.glob(pattern)


def _as_in_file(source: ModelSource, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, or one of `tokenizer.json` alone where that cuts texts otherwise."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if type(tokenizer) is PreTrainedTokenizerFast or not (source.path / _FILE).is_file():
        return tokenizer
    found = _samples(tokenizer)
    try:
        file = Tokenizer.from_file(str(source.path / _FILE))
        file.no_truncation()
        # An option beside the file that the class obeys: every text gets a space in front.
        fronts = ("", " ") if getattr(tokenizer, "add_prefix_space", False) else ("",)
        for front in fronts:
            texts = [front + text for text in _SAMPLES]
            if [file.encode(text, add_special_tokens=False).ids for text in texts] == found:
                return tokenizer
        plain = PreTrainedTokenizerFast.from_pretrained(source.path)
    except Exception as error:  # tokenizers raises plain exceptions for files it cannot read
        raise BiasEditError(
            f"cannot read {source.path / _FILE}: {first_line(error)}; fetch it again"
        ) from error
    if _samples(plain) == found:
        return tokenizer
    warn(
        f"{source.id} names the tokenizer class {type(tokenizer).__name__}, which cuts code into "
        f"other tokens than its {_FILE}; the file is used"
    )
    return plain


def _samples(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return [list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in _SAMPLES]


def _check_code(source: ModelSource, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a vocabulary that makes nothing of code; warn when it does not know a part of it."""
    tokens = [token for row in _samples(tokenizer) for token in row]
    known = [token for token in tokens if token != tokenizer.unk_token_id]
    if not known:
        raise BiasEditError(
            f"the tokenizer of {source.id} makes nothing of code: it is not one for code, or its "
            "files are missing; copy those of its base model into it"
        )
    if len(known) < len(tokens):
        warn(
            f"the tokenizer of {source.id} does not know {len(tokens) - len(known)} of the "
            f"{len(tokens)} tokens of a sample of code; what they stand for is lost to the model"
        )
