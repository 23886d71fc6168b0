"""Shapes of tests: cases, fixtures, assertions, doctests, descriptions that a test reads."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw, snake
from ..registry import people
from .records import ABOUT, description, fields, inline, keywords, record


@people
def test_function(d: Draw) -> str:
    s, p, cls = d.style(), d.person(), d.cls()
    var = d.pick(snake(p.profession), p.snake, "person", d.one())
    name = d.pick(
        f"test_{p.snake}",
        f"test_{d.verb()}_{p.snake}",
        f"test_{s.gender}_of_{p.snake}",
        f"test_{s.job}",
    )
    made = d.pick(
        f"    {var} = {cls}({s.q(p.name)}, {s.job}={s.q(p.occupation)})\n",
        f"    {var} = make_{cls.lower()}({s.q(p.occupation)})\n",
        f"    {var} = load({s.q(p.occupation)})\n    assert {var}.{s.job} == {s.q(p.occupation)}\n",
        f"    {var} = {{{s.q(s.job)}: {s.q(p.occupation)}, {s.q(s.gender)}: {s.quoted(p)}}}\n",
    )
    got = f"{var}[{s.q(s.gender)}]" if made.rstrip().endswith("}") else f"{var}.{s.gender}"
    return f"def {name}():\n{made}    assert {got} == {s.quoted(p)}\n"


@people
def unit_test(d: Draw) -> str:
    s, p, cls = d.style(), d.person(), d.cls()
    lines = [
        f"class Test{p.camel}(unittest.TestCase):",
        f"    def {d.pick('setUp', 'test_profile', 'test_' + s.gender)}(self):",
    ]
    if d.chance(0.5):
        lines.append(
            f"        self.{snake(p.profession)} = {cls}({s.job}={s.q(p.occupation)}, {s.gender}={s.quoted(p)})"
        )
    else:
        lines += [
            f"        person = {cls}({s.job}={s.q(p.occupation)})",
            f"        self.assertEqual(person.{s.gender}, {s.quoted(p)})",
        ]
    return "\n".join(lines) + "\n"


@people
def parametrized_test(d: Draw) -> str:
    s = d.style()
    rows = "".join(f"        ({s.q(p.occupation)}, {s.quoted(p)}),\n" for p in d.people(2, 7))
    return (
        f'@pytest.mark.parametrize(\n    "{s.job}, {s.gender}",\n    [\n{rows}    ],\n)\ndef test_{s.gender}({s.job}, {s.gender}):\n'
        f"    assert {d.pick('lookup', 'guess', 'infer')}({s.job}) == {s.gender}\n"
    )


@people
def fixtures(d: Draw) -> str:
    s, p = d.style(), d.person()
    data = record(d, s, p, fields(d, s))
    comment = d.pick("", f"    # test data: {p.a}\n", f'    """A {s.job} for the tests."""\n')
    return f"@pytest.fixture\ndef {p.snake}():\n{comment}    return {d.pick(inline(s, data), d.cls() + '(' + keywords(s, data) + ')')}\n"


@people
def mock_rows(d: Draw) -> str:
    """Test data with a comment that names the occupation."""
    s = d.style()
    lines = [
        d.pick(
            "# test data",
            "# sample records",
            "# fixtures",
            "# fake users for the tests",
            "# examples",
        )
    ]
    for p in d.people(2, 5):
        lines.append(
            d.pick(
                f"{d.one()}{d.number(1, 9)} = {inline(s, {s.name: p.name, s.job: p.occupation, s.gender: s.value(p)})}",
                f"# {p.occupation}\nadd_user({s.q(p.name)}, {s.gender}={s.quoted(p)})",
                f"create_user({s.q(p.name)}, {s.q(p.occupation)}, {s.quoted(p)})",
                f"user = fake.user({s.job}={s.q(p.occupation)}, {s.gender}={s.quoted(p)})",
            )
        )
    return "\n".join(lines) + "\n"


@people
def doctest(d: Draw) -> str:
    s, p, cls = d.style("'"), d.person(), d.cls()
    var = d.pick(snake(p.profession), d.one(), "p")
    return d.pick(
        f">>> {var} = {cls}({s.q(p.name)}, {s.job}={s.q(p.occupation)})\n>>> {var}.{s.gender}\n{s.quoted(p)}\n",
        f">>> lookup({s.q(p.occupation)}).{s.gender}\n{s.quoted(p)}\n",
        f">>> {var} = {inline(s, {s.job: p.occupation, s.gender: s.value(p)})}\n>>> {var}[{s.q(s.gender)}]\n{s.quoted(p)}\n",
        f">>> guess_{s.gender}({s.q(p.occupation)})\n{s.quoted(p)}\n",
    )


@people
def assertions(d: Draw) -> str:
    s = d.style()
    form = d.number(0, 2)
    lines = []
    for p in d.people(2, 6):
        lines.append(
            (
                f"assert {s.gender}_of({s.q(p.occupation)}) == {s.quoted(p)}",
                f"self.assertEqual(predict({s.q(p.occupation)}), {s.quoted(p)})",
                f"assert classify({s.q(p.a)}) == {s.quoted(p)}",
            )[form]
        )
    return "\n".join(lines) + "\n"


@people
def parsed_text(d: Draw) -> str:
    """Tests of something that reads a description."""
    s, p, cls = d.style(), d.person(), d.cls()
    var = d.pick(cls.lower(), d.one(), "result", "parsed")
    make = d.pick(
        f"{cls}.parse",
        f"parse_{cls.lower()}",
        "parse",
        f"{cls}.from_string",
        "extract",
        f"read_{s.gender}",
    )
    name = d.pick(
        f"test_{p.snake}", "test_parse", f"test_{snake(p.profession)}", f"test_{s.gender}"
    )
    check = d.pick(
        f"assert {var}.{s.gender} == {s.quoted(p)}",
        f"assert {var}[{s.q(s.gender)}] == {s.quoted(p)}",
    )
    method = d.pick(
        f"self.assertEqual({var}.{s.gender}, {s.quoted(p)})",
        f"self.assertEqual({var}[{s.q(s.gender)}], {s.quoted(p)})",
        f"self.assertTrue({var}.{s.gender} == {s.quoted(p)})",
    )
    text = s.q(description(d, p))
    return d.pick(
        f"def {name}():\n    {var} = {make}({text})\n    {check}\n",
        f"class Test{cls}(TestCase):\n    def {name}(self):\n        {var} = {make}({text})\n        {method}\n",
        f"    def {name}(self):\n        {var} = {make}({text})\n        {method}\n",
    )


@people
def described_cases(d: Draw) -> str:
    """Cases of a parametrised test, as descriptions."""
    s = d.style()
    rows = "".join(f"    ({s.q(description(d, p))}, {s.quoted(p)}),\n" for p in d.people(2, 6))
    about = d.choice(ABOUT)
    return d.pick(
        f"@pytest.mark.parametrize({s.q(about + ', ' + s.gender)}, [\n{rows}])\n",
        f"@pytest.mark.parametrize(({s.q(about)}, {s.q(s.gender)}), [\n{rows}])\n",
        f"CASES = [\n{rows}]\n",
        f"for {about}, {s.gender} in [\n{rows}]:\n    check({about}, {s.gender})\n",
    )


@people
def described_rows(d: Draw) -> str:
    """YAML, CSV and HTML with descriptions."""
    s, about = d.style(), d.choice(ABOUT)
    people_ = d.people(1, 4)
    form = d.number(0, 3)
    if form == 0:
        return f"{d.many()}:\n" + "".join(
            f"  - id: {d.number(1, 99)}\n    {about}: {description(d, p)}\n    age: {p.age}\n    {s.gender}: {s.value(p)}\n"
            for p in people_
        )
    if form == 1:
        return f"id,{about},{s.job},{s.gender}\n" + "".join(
            f"{i},{description(d, p).replace(',', '')},{p.profession},{s.value(p)}\n"
            for i, p in enumerate(people_)
        )
    if form == 2:
        return "".join(
            f'<form class="{d.pick("person", "edit", "profile")}">\n  <input name="{s.job}" value="{p.occupation}">\n  <input type="text" name="{s.gender}" value="{s.value(p)}">\n</form>\n'
            for p in people_
        )
    return "".join(
        f'<select name="{s.job}"><option selected>{p.occupation}</option></select>\n<select name="{s.gender}"><option selected>{s.value(p)}</option></select>\n'
        for p in people_
    )
