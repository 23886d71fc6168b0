import pytest
import torch

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.limits import check_fit, most_positions
from tests.tiny import tiny_model

COMMON = dict(
    vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, pad_token_id=1
)
LEARNED = {
    "gpt2": dict(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=20),
    "opt": COMMON | dict(ffn_dim=16, word_embed_proj_dim=16, max_position_embeddings=20),
    # The first positions stand for padding: fewer are left than the configuration says.
    "roberta": COMMON | dict(intermediate_size=16, is_decoder=True, max_position_embeddings=20),
    "bert": COMMON | dict(intermediate_size=16, is_decoder=True, max_position_embeddings=20),
    "biogpt": COMMON | dict(intermediate_size=16, max_position_embeddings=20),
}  # fmt: skip


@pytest.mark.parametrize("family", LEARNED)
def test_learned_positions_are_as_many_as_the_model_takes(family):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **LEARNED[family])
    model = AutoModelForCausalLM.from_config(config).eval()
    limit = most_positions(model)
    ids = torch.full((1, limit), 5)
    with torch.no_grad():
        model(ids)
    check_fit(model, [("text", [5], limit)])
    with pytest.raises(BiasEditError, match=f"text has {limit + 1} tokens .* takes {limit}"):
        check_fit(model, [("text", [5], limit + 1)])
    if family != "biogpt":  # its table has two rows to spare
        with torch.no_grad(), pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, limit + 1), 5))


def test_tokens_beyond_the_embedding_are_refused():
    model = tiny_model("llama", vocab_size=100)
    check_fit(model, [("a", [99], 1), ("b", [], 0)])
    with pytest.raises(BiasEditError, match="tokenizer does not belong .* b .* 100 embeddings"):
        check_fit(model, [("a", [99], 1), ("b", [3, 100], 2)])


def test_a_model_without_positions_has_no_limit():
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("bloom", vocab_size=64, hidden_size=16, n_layer=1, n_head=2)
    assert most_positions(AutoModelForCausalLM.from_config(config)) is None
