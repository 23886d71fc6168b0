"""Modifiers and templates: enough of them, well formed, and good English in every prompt."""

import ast
import json
import re
import sys
import xml.dom.minidom
from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from hfbiasedit.codegenbias.modifiers import load_modifiers
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.templates import CORE_TEMPLATE, ROLES, fillings, load_templates
from hfbiasedit.codegenbias.vocabulary import name_of
from hfbiasedit.resources import demo_model_path
from hfbiasedit.scoring.continuations import encode
from tests.codegenbias import made
from tests.codegenbias.template_endings import ENDINGS
from tests.tiny import tiny_tokenizer

TEMPLATES = load_templates()
VARIANTS = {
    f"{row.id}-{number}": (row, variant)
    for row in TEMPLATES
    for number, variant in enumerate(row.variants)
}
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


def test_there_are_enough_templates_and_spellings():
    assert len({row.id for row in TEMPLATES}) == len(TEMPLATES) >= 76
    roles = Counter(row.role for row in TEMPLATES)
    assert set(roles) == set(ROLES)
    assert roles["edit"] >= 46
    assert roles["dev"] >= 10
    assert roles["test"] >= 22
    texts = [variant.text for row in TEMPLATES for variant in row.variants]
    assert len(set(texts)) == len(texts)
    for row in TEMPLATES:
        # The core configuration is one text, as in version 1.
        least = {"edit": 1 if row.id == CORE_TEMPLATE else 3, "dev": 2, "test": 2}[row.role]
        assert len(row.variants) >= least, row.id
    assert next(row for row in TEMPLATES if row.id == CORE_TEMPLATE).role == "edit"


def test_the_documentation_counts_them():
    text = (Path(__file__).parents[2] / "docs" / "codegenbias.md").read_text(encoding="utf-8")
    roles = Counter(row.role for row in TEMPLATES)
    surfaces, languages = ({getattr(r, n) for r in TEMPLATES} for n in ("surface", "language"))
    assert (
        f"**{len(TEMPLATES)} templates** on {len(surfaces)} surfaces and in {len(languages)} languages"
    ) in text
    assert (
        f"{roles['edit']} are there to edit with, {roles['dev']} to choose with while editing, "
        f"{roles['test']} to judge with"
    ) in text
    assert f"{len(VARIANTS)} in all" in text


def test_the_edit_templates_span_the_vocabularies_in_several_languages():
    templates, languages = {}, {}
    for row, variant in VARIANTS.values():
        if row.role == "edit":
            name = name_of(variant.male, variant.female).casefold()
            templates.setdefault(name, set()).add(row.id)
            languages.setdefault(name, set()).add(row.language)
    for name in ("male/female", "man/woman", "m/f", "he/she", "his/her", "him/her", "mr./ms."):
        assert len(templates[name]) >= 3, name
        assert len(languages[name]) >= 2, name
    for names in (("1/2", "0/1", "1/0"), ("true/false", "false/true"), ("sir/madam",)):
        assert len(set().union(*(templates[name] for name in names))) >= 3, names
        assert len(set().union(*(languages[name] for name in names))) >= 2, names
    exact = Counter(
        name_of(row.variants[0].male, row.variants[0].female)
        for row in TEMPLATES
        if row.role == "edit"
    )
    assert min(exact["MALE/FEMALE"], exact["He/She"], exact["he/she"], exact["M/F"]) >= 3


def test_held_out_templates_are_new_in_language_and_some_in_vocabulary():
    edit = [row for row in TEMPLATES if row.role == "edit"]
    test = [row for row in TEMPLATES if row.role == "test"]
    languages = {row.language for row in edit}
    old = {row.id for row in load_templates(1)}
    assert not [row.id for row in test if row.language in languages and row.id not in old]
    assert not [row.id for row in TEMPLATES if row.role == "dev" and row.language in languages]
    seen = {name_of(v.male, v.female) for row in edit for v in row.variants}
    new = [row for row in test if name_of(row.variants[0].male, row.variants[0].female) not in seen]
    assert 5 <= len(new) <= len(test) / 3


def test_version_1_is_as_it_was():
    rows = load_templates(1)
    assert Counter(row.role for row in rows) == {"edit": 15, "test": 9}
    assert len({row.surface for row in rows}) == 10
    assert {len(row.variants) for row in rows} == {1}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name):
    template, variant = VARIANTS[name]
    assert variant.holes() <= set(HOLES)
    assert template.note.endswith(".")
    assert template.language
    # The modifier and the profession both occur, in whatever spelling.
    prompt = variant.fill(HOLES)
    text = prompt.lower().replace("_", " ").replace("-", " ")
    assert "left handed" in text or "lefthanded" in text
    assert "auditor" in text
    # Scorers differ in what they do with white space before a continuation.
    assert prompt == prompt.rstrip()
    assert "[[" not in prompt
    for words in (variant.male, variant.female):
        assert words
        assert all(words)
        assert len(set(words)) == len(words)
    assert not set(variant.male) & set(variant.female)
    # A continuation that starts another one of the other gender would be counted for both.
    for one in variant.male:
        for other in variant.female:
            assert not one.startswith(other)
            assert not other.startswith(one)


@pytest.mark.parametrize("folder", ["tiny", "demo"])
def test_every_candidate_of_every_spelling_is_scored(folder):
    """No tokenizer at hand loses a candidate, or takes two of them for one."""
    if folder == "tiny":
        tokenizer = tiny_tokenizer()
    else:
        tokenizer = AutoTokenizer.from_pretrained(demo_model_path())
    records = [
        made.record(profession=f"auditor {n}", prompt=v.fill(HOLES), male=v.male, female=v.female)
        for n, (_, v) in enumerate(VARIANTS.values())
    ]
    for prompt in encode(tokenizer, records):
        assert prompt.male
        assert prompt.female
        assert all(prompt.tails)


def test_spellings_of_a_phrase():
    assert HOLES == {
        "profession": "auditor",
        "phrase": "left-handed auditor",
        "phrases": "left-handed auditors",
        "a_phrase": "a left-handed auditor",
        "A_phrase": "A left-handed auditor",
        "title": "Left-handed Auditor",
        "snake": "left_handed_auditor",
        "upper": "LEFT_HANDED_AUDITOR",
        "snake_plural": "left_handed_auditors",
        "kebab": "left-handed-auditor",
        "pascal": "LeftHandedAuditor",
        "camel": "leftHandedAuditor",
    }
    assert fillings("", "auditor", "auditors")["a_phrase"] == "an auditor"
    assert fillings("", "auditor", "auditors")["A_phrase"] == "An auditor"


def parses(language, text):
    """Whether a piece of code is whole; raises where it is not."""
    if language == "python":
        ast.parse(f"def f():\n{text}" if text.startswith("    ") else text)
    elif language == "json":
        json.loads(text)
    elif language == "toml" and sys.version_info >= (3, 11):
        import tomllib

        tomllib.loads(text)
    elif language == "xml":
        xml.dom.minidom.parseString(text)


def test_prompts_go_on_to_valid_code():
    checked = {row.id for row in TEMPLATES if row.language in ("python", "json", "toml", "xml")}
    assert checked == set(ENDINGS)
    for row in TEMPLATES:
        for variant, ending in zip(row.variants, ENDINGS.get(row.id, ()), strict=row.id in checked):
            for word in variant.male + variant.female:
                parses(row.language, variant.fill(HOLES) + word + ending)


def test_the_grammar_holds_in_every_prompt():
    """a/an before the right sound, no doubled spaces inside a line, plurals where they belong."""
    words = {row.modifier for row in load_modifiers() if row.modifier}
    words |= {row.profession.split()[0] for row in load_professions()}
    for record in load_prompts("full", limit=3000).records:
        for found, word in re.findall(r"\b([Aa]n?) ([a-z]+(?:-[a-z]+)?)\b", record.prompt):
            if word in words:
                vowel = word[0] in "aeiou" or word.startswith("honest")
                assert (found.lower() == "an") == vowel, record.prompt
        aligned = record.prompt.replace("Gender     string", "").replace("SEX_MALE   0", "")
        assert not re.search(r"\S  +[^\s#]", aligned), record.prompt
