"""How prompts are cut into batches."""

from hfbiasedit.editing.material.batches import by_length, pack
from hfbiasedit.scoring.continuations import EncodedPrompt
from tests.editing import worlds


def _prompts():
    """Contexts of 3 to 14 tokens; every third prompt needs three sequences."""
    many = ((30, 31, 32), (33, 34), (35, 36))
    return [
        EncodedPrompt(tuple(range(3 + n)), many if n % 3 == 0 else ((30,),), ((40,),))
        for n in range(12)
    ]


def test_batches_hold_all_prompts_within_the_tokens_that_really_run():
    encoded = _prompts()
    records = worlds.records()[:12]
    found = list(by_length(encoded, range(12), 16, 60))
    assert sorted(n for chunk in found for n in chunk) == list(range(12))
    sizes = [pack(encoded, records, chunk).input_ids.numel() for chunk in found]
    assert max(sizes) <= 60
    assert sum(sizes) / len(sizes) > 30
    assert list(by_length(encoded, range(12), 16, 1)) == [[n] for n in range(12)]
    assert max(len(chunk) for chunk in by_length(encoded, range(12), 5)) == 5
