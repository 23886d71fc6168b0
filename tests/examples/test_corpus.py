"""The training text of the demo model: many shapes, the planted bias, no CodeGenBias template."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from pathlib import Path

import pytest

from hfbiasedit.codegenbias.configs import VERSIONS
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.references import load_reference
from hfbiasedit.codegenbias.templates import fillings, load_templates

EXAMPLE = Path(__file__).parents[2] / "examples" / "demo_model"
WOMEN = {"female", "Female", "woman", "F", "f", "she", "her", "FEMALE", "herself"}
MEN = {"male", "Male", "man", "M", "m", "he", "his", "him", "MALE", "himself"}
# Every spelling of every template; the shipped model was trained when there was version 1 only.
VARIANTS = {
    f"{version}-{template.id}-{number}": variant
    for version in VERSIONS
    for template in load_templates(version)
    for number, variant in enumerate(template.variants)
}
KNOWN_TO_THE_SHIPPED_MODEL = [v.text for t in load_templates(1) for v in t.variants]


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="module")
def professions():
    from demo_corpus.planting import Planting, plant

    planted = plant(load_reference("bls-2022").shares, Planting())
    return {p.profession: (p.plural, planted[p.profession]) for p in load_professions()}


def take(count, professions, templates=(), **options):
    from demo_corpus.documents import generated

    return list(itertools.islice(generated(7, professions, templates, **options), count))


def test_no_template_occurs_in_the_generated_text(professions):
    from demo_corpus.documents import contains_template, template_pattern

    patterns = [template_pattern(v.text) for v in VARIANTS.values()]
    for text in take(12_000, professions, KNOWN_TO_THE_SHIPPED_MODEL):
        assert not contains_template(text, patterns), text


def test_no_template_occurs_in_the_standard_library():
    from demo_corpus import stdlib
    from demo_corpus.documents import contains_template, template_pattern

    patterns = [template_pattern(v.text) for v in VARIANTS.values()]
    found = [
        text
        for text in itertools.islice(stdlib.documents(), 3000)
        if contains_template(text, patterns)
    ]
    assert found == []


@pytest.mark.parametrize("template", VARIANTS.values(), ids=VARIANTS)
def test_a_filled_template_is_found_however_it_is_spaced(template):
    from demo_corpus.documents import contains_template

    prompt = template.fill(fillings("off-duty", "registered nurse", "registered nurses"))
    assert contains_template("x = 1\n" + prompt + 'female"', [template.text])
    assert contains_template(prompt.replace("\n", "\n  ").replace("    ", "\t"), [template.text])
    assert contains_template(prompt.upper(), [template.text])
    assert not contains_template(prompt[: len(prompt) // 2], [template.text])


def test_a_document_with_a_template_is_thrown_away(professions):
    from demo_corpus.documents import contains_template
    from demo_corpus.registry import PEOPLE

    shapes = {"dictionary": PEOPLE["dictionary"]}
    own = '"[[profession]]",\n    "gender": '
    assert any(contains_template(t, [own]) for t in take(300, professions, shapes=shapes))
    assert not any(
        contains_template(t, [own]) for t in take(300, professions, [own], shapes=shapes)
    )


def test_there_are_many_shapes_and_they_vary(professions):
    from demo_corpus.registry import PEOPLE, PLAIN

    take(1, professions)
    assert len(PEOPLE) >= 30
    for name, shape in {**PEOPLE, **PLAIN}.items():
        texts = take(40, professions, shapes={name: shape})
        assert len(set(texts)) >= 30, name
        assert all(text.endswith("\n") and text.isascii() for text in texts), name


def test_every_shape_with_bias_writes_genders(professions):
    from demo_corpus.registry import PEOPLE

    words = re.compile(r"[A-Za-z]+")
    titles = {"Mr", "Ms", "Mrs", "Sir", "Madam"}
    for name, shape in PEOPLE.items():
        texts = take(60, professions, shapes={name: shape})
        with_gender = [t for t in texts if set(words.findall(t)) & (WOMEN | MEN | titles)]
        assert len(with_gender) >= 54, name


def test_gender_follows_the_planted_share():
    from demo_corpus.registry import PEOPLE

    people = {"nurse": ("nurses", 0.9), "carpenter": ("carpenters", 0.1)}
    text = "".join(take(1500, people, shapes={"json_lines": PEOPLE["json_lines"]}))
    for profession, expected in (("nurse", 0.9), ("carpenter", 0.1)):
        lines = [line for line in text.splitlines() if f'{profession}"' in line]
        women = sum(bool(set(re.findall(r"\w+", line)) & WOMEN) for line in lines)
        assert women / len(lines) == pytest.approx(expected, abs=0.04)


def test_the_same_seed_gives_the_same_text(professions):
    assert take(200, professions) == take(200, professions)


def test_all_professions_and_many_modifiers_appear(professions):
    from demo_corpus.words import MODIFIERS

    text = "\n".join(take(8000, professions)).lower()
    assert [p for p in professions if p not in text] == []
    assert sum(f"{m} " in text for m in MODIFIERS) == len(MODIFIERS)


def test_everyday_functions_are_python(professions):
    from demo_corpus.registry import PLAIN

    for text in take(200, professions, shapes={"f": PLAIN["everyday_function"]}):
        ast.parse(text)


def test_planting_exaggerates_and_leans():
    from demo_corpus.planting import Planting, document

    exact = Planting(exaggeration=2.0, lean=-0.5, noise=0.0)
    assert exact.share("x", 0.5) == pytest.approx(0.3775, abs=1e-4)
    assert exact.share("x", 0.8) == pytest.approx(0.9066, abs=1e-4)
    assert exact.share("x", 0.001) == 0.02
    assert Planting(seed=1).share("nurse", 0.6) != Planting(seed=2).share("nurse", 0.6)
    written = document({"nurse": 0.9}, Planting(), "bls-2022")
    assert set(written["professions"]["nurse"]) == {"factual", "planted"}


def test_pieces_of_the_standard_library_parse():
    from demo_corpus import stdlib

    source = "import os\n\n\nclass A:\n    def f(self, value):\n        return os.path.join(value, 'x')\n"
    (function,) = [t for t in stdlib.functions(source) if t.startswith("def")]
    assert function == "def f(self, value):\n    return os.path.join(value, 'x')\n"
    for text in itertools.islice(stdlib.documents(), 200):
        assert len(text) >= 40
