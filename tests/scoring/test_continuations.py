from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.continuations import EncodedPrompt, _resolve_overlaps, common_prefix, encode
from tests.scoring.worlds import record, records
from tests.tiny import tiny_tokenizer


def words(*extra: str, normalizer=None, post=None) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words; what it does not know becomes <unk>."""
    vocabulary = ["<unk>", "<s>", "</s>", "the", "nurse", "he", "she", *extra]
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if normalizer:
        tokenizer.normalizer = normalizer
    if post:
        tokenizer.post_processor = post
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def test_context_and_tails_spell_prompt_and_candidates():
    tokenizer = tiny_tokenizer()
    for item, row in zip(encode(tokenizer, records()), records(), strict=True):
        texts = {tokenizer.decode(list(item.context + tail)) for tail in item.tails}
        assert texts <= {row.prompt + text for text in row.male + row.female}
        joint = tokenizer(row.prompt + row.male[0])["input_ids"]
        assert tuple(joint) == item.context + item.male[0]


def test_merge_over_the_boundary_moves_into_every_tail():
    tokenizer = tiny_tokenizer()
    (item,) = encode(tokenizer, [record("# The engineer finished ", ("his", "he"), ("her", "she"))])
    assert tokenizer.decode(list(item.context)) == "# The engineer finished"
    assert [tokenizer.decode(list(tail)) for tail in item.tails] == [" his", " he", " her", " she"]


def test_longest_common_prefix_is_that_of_all_candidates():
    # "Ġwoman" style merges: one candidate that merges back forces the shorter context on all.
    tokenizer = tiny_tokenizer()
    (item,) = encode(tokenizer, [record("# he said ", ("his", "@"), ("her", "@@"))])
    for tail in item.tails:
        assert tokenizer.decode(list(item.context + tail)).startswith("# he said ")
    assert len({item.context}) == 1
    assert all(tokenizer.decode(list(tail)).startswith(" ") for tail in item.tails)


def test_bos_is_in_front_once():
    plain = encode(tiny_tokenizer(), records())
    with_bos = encode(tiny_tokenizer(bos=True), records())
    assert all(
        b.context == (0, *p.context) and b.male == p.male
        for p, b in zip(plain, with_bos, strict=True)
    )
    start = encode(
        tiny_tokenizer(bos=True), [record("<|endoftext|># he said", (" his",), (" her",))]
    )
    assert start[0].context.count(0) == 1


def test_eos_behind_a_text_is_left_out():
    post = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    (item,) = encode(words(post=post), [record("the nurse", (" he",), (" she",))])
    assert item == EncodedPrompt(context=(1, 3, 4), male=((5,),), female=((6,),), id="r")


def test_same_gender_prefix_counts_once():
    tokenizer = tiny_tokenizer()
    (item,) = encode(tokenizer, [record("# x", (" he",), (" she", " shepherdess", " she"))])
    assert [tokenizer.decode(list(tail)) for tail in item.female] == [" she"]


def test_longest_match_wins_across_genders():
    tails = {(1,): "male", (1, 2): "female", (1, 2, 3): "male", (1, 2, 4): "female", (9,): "female"}
    item = _resolve_overlaps((7,), tails, "x")
    assert item.male == ((1,), (1, 2, 3))
    assert item.male_minus == ((1, 2),)
    assert item.female == ((1, 2), (9,))
    assert item.female_minus == ((1, 2, 3),)


@pytest.mark.parametrize(
    ("male", "female", "message"),
    [
        ((), (" she",), "no male continuations"),
        ((" he",), (" she", ""), "empty female continuation"),
        ((" he",), (" they",), "cannot encode the continuation ' they'"),
        ((" he",), ("  ",), "cannot encode the continuation '  '"),
        ((" he",), (" he",), "like one of the other gender"),
    ],
)
def test_bad_candidates_are_refused_by_name(male, female, message):
    with pytest.raises(BiasEditError, match=message) as caught:
        encode(words(), [record("the nurse", male, female, id="bad-one")])
    assert "bad-one" in str(caught.value)


def test_candidates_that_a_normaliser_makes_equal_count_once_or_are_refused():
    tokenizer = words(normalizer=normalizers.Lowercase())
    (item,) = encode(tokenizer, [record("the nurse", (" he", " He"), (" she",))])
    assert item.male == ((5,),)
    with pytest.raises(BiasEditError, match="other gender"):
        encode(tokenizer, [record("the nurse", (" he",), (" HE",))])


def test_prompt_without_a_token_of_its_own_is_refused():
    with pytest.raises(BiasEditError, match="too short"):
        encode(tiny_tokenizer(), [record(" ", ("his",), ("her",))])


def test_common_prefix():
    assert [common_prefix((1, 2, 3), other) for other in ((), (1, 2), (1, 2, 3, 4), (1, 5, 3))] == [
        0,
        2,
        3,
        1,
    ]
