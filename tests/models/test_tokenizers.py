"""The tokenizer is the one of `tokenizer.json`, and knows code."""

from __future__ import annotations

import json

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.tokenizers import load_tokenizer
from tests.tiny import tiny_config, tiny_tokenizer

# As cl100k cuts: runs of up to three digits, words without the space before them.
PATTERN = r"\p{N}{1,3}|[^\s\p{L}\p{N}]|\p{L}+|\s+"
CODE = 'if person.gender == "female":\n    return 12345\n'


def folder_with(folder, backend, label=None, **options):
    """A directory with a tokenizer and a class label, as a model would have."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|endoftext|>", **options
    )
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if label is not None:
        config["tokenizer_class"] = label
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return ModelSource(id="org/name", path=folder)


def otherwise_cut():
    backend = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return backend


def test_a_directory_without_the_file_is_told_what_it_lacks(tmp_path):
    source = folder_with(tmp_path, otherwise_cut())
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(BiasEditError, match=r"such as tokenizer\.json; copy those"):
        load_tokenizer(source, False)


@pytest.mark.parametrize("label", ["GPT2Tokenizer", "GPT2TokenizerFast", "Qwen2Tokenizer"])
def test_the_file_wins_over_a_class_that_cuts_otherwise(tmp_path, capsys, label):
    backend = otherwise_cut()
    source = folder_with(tmp_path, backend, label)
    wanted = backend.encode(CODE, add_special_tokens=False).ids
    assert AutoTokenizer.from_pretrained(tmp_path)(CODE)["input_ids"] != wanted
    tokenizer = load_tokenizer(source, False)
    assert tokenizer(CODE, add_special_tokens=False)["input_ids"] == wanted
    assert tokenizer.eos_token == "<|endoftext|>"
    said = " ".join(capsys.readouterr().err.split())
    assert "org/name names the tokenizer class" in said
    assert "tokenizer.json; the file is used" in said


@pytest.mark.parametrize("label", ["PreTrainedTokenizerFast", "GPT2Tokenizer"])
def test_a_label_that_changes_nothing_is_left_alone(tmp_path, capsys, label):
    source = folder_with(tmp_path, tiny_tokenizer().backend_tokenizer, label)
    tokenizer = load_tokenizer(source, False)
    assert tokenizer(CODE)["input_ids"] == tiny_tokenizer()(CODE)["input_ids"]
    assert capsys.readouterr().err == ""


def test_options_beside_the_file_are_no_difference(tmp_path, capsys):
    backend = tiny_tokenizer().backend_tokenizer
    source = folder_with(tmp_path, backend, "GPT2Tokenizer", add_prefix_space=True)
    tokenizer = load_tokenizer(source, False)
    spaced = tiny_tokenizer()(" " + CODE)["input_ids"]
    assert tokenizer(CODE, add_special_tokens=False)["input_ids"] == spaced
    assert capsys.readouterr().err == ""


def test_a_damaged_file(tmp_path):
    source = folder_with(tmp_path, tiny_tokenizer().backend_tokenizer, "GPT2Tokenizer")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BiasEditError, match=r"cannot (load the tokenizer|read .*tokenizer\.json)"):
        load_tokenizer(source, False)


@pytest.mark.parametrize("family", ["gpt2", "gemma", "qwen2", "gpt_neox", "llama"])
def test_a_directory_without_tokenizer_files(tmp_path, family):
    """transformers makes some families a vocabulary of special tokens out of nothing."""
    tiny_config(family).save_pretrained(tmp_path)
    with pytest.raises(BiasEditError, match="copy those of its base model into it"):
        load_tokenizer(ModelSource(id="org/name", path=tmp_path), False)


def words(*known):
    vocabulary = {word: number for number, word in enumerate(["<|endoftext|>", "[UNK]", *known])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return backend


def test_a_vocabulary_that_knows_nothing_of_code_is_refused(tmp_path):
    source = folder_with(tmp_path, words("zebra", "ocean"), unk_token="[UNK]")
    with pytest.raises(BiasEditError, match=r"org/name makes nothing of code.*copy those"):
        load_tokenizer(source, False)


def test_a_vocabulary_that_knows_a_part_of_code_is_told_of(tmp_path, capsys):
    source = folder_with(tmp_path, words("def", "width", "return"), unk_token="[UNK]")
    tokenizer = load_tokenizer(source, False)
    said = " ".join(capsys.readouterr().err.split())
    assert tokenizer("def")["input_ids"] == [2]
    assert "the tokenizer of org/name does not know" in said
    assert "tokens of a sample of code" in said
