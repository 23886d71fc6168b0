"""Modifiers and templates: enough of them, well formed, and good English in every prompt."""

import ast
import json
import re
from collections import Counter

import pytest

from hfbiasedit.codegenbias.modifiers import load_modifiers
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.templates import CORE_TEMPLATE, fillings, load_templates

TEMPLATES = load_templates()
HOLES = fillings("left-handed", "auditor", "auditors")


def test_there_are_eight_modifiers_of_each_polarity():
    modifiers = load_modifiers()
    assert Counter(row.polarity for row in modifiers) == {
        "positive": 8,
        "negative": 8,
        "neutral": 8,
    }
    assert len({row.modifier for row in modifiers}) == 24
    assert [row.polarity for row in modifiers if not row.modifier] == ["neutral"]
    assert all(re.fullmatch(r"[a-z]*(-[a-z]+)?", row.modifier) for row in modifiers)


def test_there_are_enough_templates_and_surfaces():
    assert len(TEMPLATES) == len({row.id for row in TEMPLATES}) == 24
    surfaces = {row.surface for row in TEMPLATES}
    seen = {row.surface for row in TEMPLATES if row.seen}
    assert len(surfaces) == 10
    assert len(surfaces - seen) == 3  # held out whole
    assert len(seen & {row.surface for row in TEMPLATES if not row.seen}) == 5
    assert sum(row.seen for row in TEMPLATES) == 15
    assert next(row for row in TEMPLATES if row.id == CORE_TEMPLATE).seen


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda row: row.id)
def test_template(template):
    assert template.holes() <= set(HOLES)
    assert template.note.endswith(".")
    assert template.language
    # The modifier and the profession both occur, in whatever spelling.
    text = template.fill(HOLES).lower().replace("_", " ").replace("-", " ")
    assert "left handed" in text or "lefthanded" in text
    assert "auditor" in text
    # Scorers differ in what they do with white space before a continuation.
    assert text == text.rstrip()
    assert "[[" not in text
    for words in (template.male, template.female):
        assert words
        assert all(words)
        assert len(set(words)) == len(words)
    assert not set(template.male) & set(template.female)
    # A continuation that starts another one of the other gender would be counted for both.
    for one in template.male:
        for other in template.female:
            assert not one.startswith(other)
            assert not other.startswith(one)


def test_spellings_of_a_phrase():
    assert HOLES == {
        "profession": "auditor",
        "phrase": "left-handed auditor",
        "phrases": "left-handed auditors",
        "a_phrase": "a left-handed auditor",
        "A_phrase": "A left-handed auditor",
        "snake": "left_handed_auditor",
        "snake_plural": "left_handed_auditors",
        "kebab": "left-handed-auditor",
        "pascal": "LeftHandedAuditor",
        "camel": "leftHandedAuditor",
    }
    assert fillings("", "auditor", "auditors")["a_phrase"] == "an auditor"
    assert fillings("", "auditor", "auditors")["A_phrase"] == "An auditor"


# What makes each Python, JSON prompt a complete program again, after the value.
_ENDINGS = {
    "py_attribute_compare": '"\n',
    "py_comprehension": '"]\n',
    "py_branch_on_key": '":\n        return 1\n',
    "py_dict_record": '"}\n',
    "py_dataclass_call": '")\n',
    "py_docstring_pronoun": ' it ends."""\n',
    "py_comment_possessive": " key.\n    return 1\n",
    "py_parametrize": '")])\ndef test(description, gender): ...\n',
    "py_assert_equal": '")\n',
    "py_class_attribute": '"\n',
    "py_class_init": '"\n',
    "py_salutation": ' {surname}"\n',
}


def test_python_and_json_prompts_go_on_to_valid_code():
    languages = {row.id: row.language for row in TEMPLATES}
    assert {name for name, language in languages.items() if language == "python"} == set(_ENDINGS)
    for record in load_prompts("quick").records:
        for word in record.male + record.female:
            if record.language == "python":
                ast.parse(record.prompt + word + _ENDINGS[record.template])
            elif record.language == "json":
                json.loads(record.prompt + word + '"}]}')


def test_the_grammar_holds_in_every_prompt():
    """a/an before the right sound, no doubled spaces inside a line, plurals where they belong."""
    words = {row.modifier for row in load_modifiers() if row.modifier}
    words |= {row.profession.split()[0] for row in load_professions()}
    for record in load_prompts("full", limit=3000).records:
        for found, word in re.findall(r"\b([Aa]n?) ([a-z]+(?:-[a-z]+)?)\b", record.prompt):
            if word in words:
                vowel = word[0] in "aeiou" or word.startswith("honest")
                assert (found.lower() == "an") == vowel, record.prompt
        assert not re.search(r"\S  +\S", record.prompt.replace("Gender     string", ""))
        if "profession" in load_holes(record.template):
            assert record.profession in record.prompt


def load_holes(name):
    return next(row for row in TEMPLATES if row.id == name).holes()
