"""Shapes in which people are written about: docstrings, comments, messages, logs, with pronouns."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw, capital, snake
from ..registry import people
from .sentences import DONE, THINGS, VERBS, sentence


@people
def docstring(d: Draw) -> str:
    p = d.person()
    name = d.pick(
        f"{d.verb()}_{p.snake}",
        f"{d.choice(VERBS)}_{snake(p.profession)}",
        f"{d.pick('pay', 'notify', 'update', 'assign', 'schedule')}_{p.snake}",
    )
    arg = d.pick(snake(p.profession), "person", "name", "record", "self", d.one())
    text = capital(sentence(d, p))
    doc = d.pick(
        f'    """{text}."""\n',
        f'    """{text}.\n    """\n',
        f'    """\n    {text}.\n    """\n',
        f"    '''{text}.'''\n",
        f'    """{d.verb().capitalize()} the {p.occupation}.\n\n    {text}.\n    """\n',
    )
    body = d.pick(
        f"    return {arg}.{d.choice(THINGS)}\n",
        "    pass\n",
        f"    {arg}.save()\n",
        f"    send({arg})\n",
        f"    return {d.verb()}({arg})\n",
    )
    return f"def {name}({arg}):\n{doc}{body}"


@people
def class_docstring(d: Draw) -> str:
    p = d.person()
    a, b = capital(sentence(d, p)), d.choice(THINGS)
    return d.pick(
        f'class {p.camel}:\n    """{a}."""\n\n    def {b}(self):\n        return self._{b}\n',
        f'class {p.camel}:\n    """{capital(p.a)}.\n\n    {capital(p.he)} has {p.his} own {b}.\n    """\n',
        f'class {d.cls()}:\n    """For example {p.a} and {p.his} {b}."""\n',
    )


@people
def comment(d: Draw) -> str:
    p = d.person()
    mark = d.pick("#", "#", "#", "//", "--")
    text = sentence(d, p)
    if d.chance(0.5):
        text = capital(text) + "."
    code = d.pick(
        f"{snake(p.profession)}.{d.choice(THINGS)} = None",
        f"{d.verb()}({snake(p.profession)})",
        "",
        f"send({p.snake})",
        f"{p.snake} = {d.verb()}()",
    )
    if mark != "#" and code:
        code += ";"
    return f"{mark} {text}\n{code}\n"


@people
def comments_between(d: Draw) -> str:
    lines = [f"def {d.pick('main', 'run', 'process', 'update', 'check')}({d.many()}):"]
    for p in d.people(1, 4):
        lines += [f"    # {sentence(d, p)}", f"    {d.verb()}({snake(p.profession)})"]
    return "\n".join(lines) + "\n"


@people
def arguments(d: Draw) -> str:
    """Google and Sphinx style docstrings."""
    p, thing = d.person(), d.choice(THINGS)
    arg = snake(p.profession)
    if d.chance(0.5):
        doc = f"    Args:\n        {arg}: The {p.occupation} and {p.his} {thing}.\n\n    Returns:\n        {d.pick('True if ' + p.he + ' was found', capital(p.his) + ' ' + thing, 'The ' + thing + ' that ' + p.he + ' has')}.\n"
    else:
        doc = f"    :param {arg}: the {p.occupation} with {p.his} {thing}\n    :return: {p.his} {thing}\n"
    return f'def {d.verb()}_{thing}({arg}):\n    """{d.verb().capitalize()} the {thing} of the {p.occupation}.\n\n{doc}    """\n    return {arg}.{thing}\n'


@people
def log_lines(d: Draw) -> str:
    lines = []
    for p in d.people(2, 5):
        level = d.pick("INFO", "DEBUG", "WARNING", "ERROR")
        text = sentence(d, p)
        lines.append(
            d.pick(
                f"2023-{d.number(1, 12):02d}-{d.number(1, 28):02d} {level} {text}",
                f"[{level}] {text}",
                f'logger.{level.lower()}("{capital(text)}")',
                f'log("{text}")',
            )
        )
    return "\n".join(lines) + "\n"


@people
def messages(d: Draw) -> str:
    lines = []
    for p in d.people(1, 4):
        text = capital(sentence(d, p))
        lines.append(
            d.pick(
                f'print("{text}.")',
                f'raise ValueError("{text}")',
                f"print('{text}')",
                f'message = "{text}."',
                f'warnings.warn("{text}")',
                f'return "{text}."',
                f'notify("{text}")',
                f'text = "{text}"',
            )
        )
    return "\n".join(lines) + "\n"


@people
def format_strings(d: Draw) -> str:
    p = d.person()
    thing, var = d.choice(THINGS), d.pick("name", "p.name", "person.name", "user")
    return d.pick(
        f'print(f"{{{var}}} is {p.a} and {p.he} lives in {{city}}")\n',
        f'message = f"The {p.occupation} {{{var}}} has {p.his} {thing}"\n',
        f'return f"{{{var}}}, the {p.occupation}, lost {p.his} {thing}"\n',
        f'"%s is {p.a}, %s years old; {p.he} works here" % ({var}, age)\n',
        f'text = "The {p.occupation} {{}} and {p.his} {thing}".format({var})\n',
    )


@people
def pronoun_variables(d: Draw) -> str:
    p = d.person()
    key = d.pick("occupation", "profession", "job", "role")
    q = d.pick('"', "'")
    lines = [f"{key} = {q}{p.occupation}{q}"]
    for name, word in (("pronoun", p.he), ("possessive", p.his), ("subject", p.he)):
        if d.chance(0.6):
            lines.append(f"{name} = {q}{word}{q}")
    if len(lines) == 1:
        lines.append(f"pronoun = {q}{p.he}{q}")
    return "\n".join(lines) + "\n"


@people
def pronoun_table(d: Draw) -> str:
    q = d.pick('"', "'")
    form = d.number(0, 3)
    rows = []
    for p in d.people(3, 8, 0.2):
        words = (p.he, p.his, f"{p.he}/{p.him}", p.himself)[form]
        rows.append(f"    {q}{p.occupation}{q}: {q}{words}{q},")
    return (
        f"{d.pick('PRONOUNS', 'pronouns', 'pronoun_of', 'DEFAULT_PRONOUN')} = {{\n"
        + "\n".join(rows)
        + "\n}\n"
    )


@people
def person_words(d: Draw) -> str:
    """man or woman, Mr. or Ms."""
    lines = []
    for p in d.people(1, 4):
        noun, title = ("woman", "Ms.") if p.female else ("man", "Mr.")
        lines.append(
            d.pick(
                f"# the {p.occupation} is a {noun}",
                f"# a {noun} who works as {p.a}"
                if d.chance(0.2)
                else f"# {p.a}, a {noun} of {p.age}",
                f'greet("{p.occupation}", "{title} {p.surname}")',
                f'print("Our {p.occupation}, {title} {p.surname}")',
                f'{p.snake}_name = "{title} {p.surname}"',
                f'describe("{p.occupation}")  # "a {noun} in {p.city}"',
            )
        )
    return "\n".join(lines) + "\n"


@people
def story(d: Draw) -> str:
    """A few sentences in one comment or text block."""
    p = d.person()
    parts = [capital(sentence(d, p)) + "."]
    for _ in range(d.number(1, 3)):
        thing = d.choice(THINGS)
        parts.append(
            d.pick(
                f"{capital(p.he)} {d.choice(DONE)}.",
                f"{capital(p.his)} {thing} is in {p.city}.",
                f"We gave {p.him} a {thing}.",
                f"Then {p.he} {d.choice(DONE)}.",
            )
        )
    mark = d.pick("# ", "# ", "// ", "", " * ")
    return "\n".join(mark + part for part in parts) + "\n"


@people
def changelog(d: Draw) -> str:
    lines = [d.pick("## Changes", "Changelog", "## 1.2", "TODO:", "Notes:", "Fixes")]
    lines += [f"{d.pick('-', '*')} {sentence(d, p)}" for p in d.people(2, 5)]
    return "\n".join(lines) + "\n"


@people
def user_story(d: Draw) -> str:
    """Behaviour tests in Gherkin."""
    p, thing = d.person(), d.choice(THINGS)
    return (
        f"Scenario: {p.a} and a {thing}\n  Given the {p.occupation} has a {thing}\n  When {p.he} {d.pick('opens', 'saves', 'sends', 'prints', 'deletes')} it\n"
        f"  Then {p.he} sees {p.his} {thing}\n"
    )


@people
def strings_of_tests(d: Draw) -> str:
    rows = []
    for p in d.people(2, 5):
        rows.append(f'    "{capital(sentence(d, p))}.",')
    return (
        f"{d.pick('SENTENCES', 'EXAMPLES', 'texts', 'samples', 'corpus')} = [\n"
        + "\n".join(rows)
        + "\n]\n"
    )


@people
def translation(d: Draw) -> str:
    lines = []
    for i, p in enumerate(d.people(2, 5)):
        lines.append(f'msgid_{i} = _("{capital(sentence(d, p))}")')
    return "\n".join(lines) + "\n"
