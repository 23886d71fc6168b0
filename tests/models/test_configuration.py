import pytest
from transformers import AutoConfig

from hfbiasedit.models.configuration import stated_context


@pytest.mark.parametrize(
    ("kind", "options", "tokens"),
    [
        ("gpt2", dict(n_positions=512), 512),
        ("codegen", dict(n_positions=2048, n_ctx=1024), 1024),
        ("llama", dict(max_position_embeddings=4096), 4096),
        ("mpt", dict(max_seq_len=256), 256),
        ("bloom", dict(seq_length=128), 128),
        ("bloom", {}, None),
        ("mamba", {}, None),
    ],
)
def test_the_context_that_a_configuration_states(kind, options, tokens):
    assert stated_context(AutoConfig.for_model(kind, **options)) == tokens


def test_that_of_the_text_part_counts_and_nonsense_does_not():
    config = AutoConfig.for_model("llava")
    config.text_config.max_position_embeddings = 77
    assert stated_context(config) == 77
    nothing = AutoConfig.for_model(
        "bloom", seq_length=None, n_ctx=0, max_seq_len="long", n_positions=True
    )
    assert stated_context(nothing) is None
