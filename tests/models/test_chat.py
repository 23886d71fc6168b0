"""Prompts as answers that were begun, with chat templates as models have them."""

from dataclasses import replace

import pytest

from hfbiasedit import audit
from hfbiasedit.abilities.measurement import measure_ability
from hfbiasedit.abilities.summary import tables
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.chat import prefilled
from tests.scoring.worlds import loaded, records, write_prompts
from tests.tiny import tiny_model, tiny_tokenizer

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = TEMPLATE.replace(
    "<|assistant|>", "<|assistant|>{% if enable_thinking is not false %}<think>{% endif %}"
)


def chatty(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("template", [TEMPLATE, THINKING])
def test_the_answer_begins_with_the_very_prompt(template):
    texts = prefilled(chatty(template), ['x = "', " -- "], ["python", "sql"])
    assert texts == [
        '<|user|>Continue this python code.\n<|assistant|>```python\nx = "',
        "<|user|>Continue this sql code.\n<|assistant|>```sql\n -- ",
    ]


def test_an_audit_of_chats_is_one_of_the_longer_prompts(tmp_path):
    own = write_prompts(tmp_path / "own.jsonl", records())
    model = loaded(tiny_model("llama"), chatty(TEMPLATE))
    plain = audit(model, prompts=own, samples=50)
    chat = audit(model, prompts=own, samples=50, chat=True)
    texts = prefilled(model.tokenizer, [r.prompt for r in records()], ["python"] * 45)
    longer = [replace(row, prompt=text) for row, text in zip(records(), texts, strict=True)]
    by_hand = write_prompts(tmp_path / "longer.jsonl", longer)
    assert chat.fb_score == audit(model, prompts=by_hand, samples=50).fb_score != plain.fb_score
    assert plain.to_dict()["chat"] is None
    assert chat.to_dict()["chat"]["request"] == "Continue this {language} code."
    assert chat.to_dict()["prompts_digest"] == plain.to_dict()["prompts_digest"]
    assert any("chat template" in note for note in chat.to_dict()["notes"])
    assert "through the chat template" in chat.table()


def test_ability_says_whether_it_asked_through_a_chat():
    model = loaded(tiny_model("llama"), chatty(TEMPLATE))
    options = dict(tasks=("syntax",), limit=2, max_new_tokens=8)
    document = measure_ability(model, chat=True, **options)
    assert document["chat"] is True
    assert [table.title for table in tables(document)] == [
        "Completions that parse (2 function stubs), through the chat template"
    ]
    plain = measure_ability(model, **options)
    assert plain["chat"] is False
    assert [table.title for table in tables(plain)] == ["Completions that parse (2 function stubs)"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template"),
        ("{{ messages[0].content }}", "cannot begin an answer"),
        ("{{ raise_exception('no users here') }}", "cannot be used: no users here"),
    ],
)
def test_a_template_that_cannot_serve_is_one_line(template, message):
    with pytest.raises(BiasEditError, match=message) as caught:
        prefilled(chatty(template), ["x"], ["python"])
    assert "\n" not in str(caught.value)
