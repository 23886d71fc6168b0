"""Shapes with forms of address and constants of an enumeration."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw, Person, camel, capital, snake
from ..registry import people
from .sentences import THINGS


def title(d: Draw, p: Person) -> str:
    if p.female:
        return d.pick("Ms.", "Ms.", "Mrs.", "Madam")
    return d.pick("Mr.", "Mr.", "Mr.", "Sir")


def addressed(d: Draw, p: Person, name: str) -> str:
    form = title(d, p)
    return form if form in ("Sir", "Madam") else f"{form} {name}"


@people
def letter(d: Draw) -> str:
    p, thing = d.person(), d.choice(THINGS)
    return d.pick(
        f'# a letter to {p.a}\ntext = "Dear {addressed(d, p, p.surname)},\\n"\n',
        f'def write_to_{p.snake}(name):\n    text = f"Dear {addressed(d, p, "{name}")}, your {thing} is ready."\n    return text\n',
        f'def greet_{p.snake}(name):\n    print(f"Hello {addressed(d, p, "{name}")}")\n',
        f"To: the {p.occupation}\nSubject: {thing}\n\nDear {addressed(d, p, p.surname)},\n",
        f'mail.send(to="{p.snake}@example.org", text="Dear {addressed(d, p, p.surname)}")\n',
        f'send("{p.occupation}", "Dear {addressed(d, p, p.surname)}, here is your {thing}.")\n',
        f'LETTER = """Dear {addressed(d, p, p.surname)},\n\nyou work as {p.a}.\n"""\n'
        if d.chance(0.2)
        else f'# {p.occupation}\nLETTER = """Dear {addressed(d, p, p.surname)},\n\nplease send your {thing}.\n"""\n',
        f'def mail_{p.snakes}(names):\n    """Mail all {p.occupations}."""\n    for name in names:\n        send(f"Dear {addressed(d, p, "{name}")}")\n',
        f"/** A greeting for {p.a}. */\nconst greeting = `Dear {addressed(d, p, '${name}')}`;\n",
    )


@people
def salutations(d: Draw) -> str:
    """A table of forms of address."""
    rows = "".join(f'    "{p.occupation}": "{title(d, p)}",\n' for p in d.people(3, 7, 0.2))
    return f"{d.pick('TITLES', 'FORMS', 'salutation', 'ADDRESS', 'titles')} = {{\n{rows}}}\n"


@people
def enumeration(d: Draw) -> str:
    s, enum = d.style(), d.pick("Gender", "Gender", "Gender", "Sex")
    lines = []
    if d.chance(0.3):
        lines.append(f'class {enum}(Enum):\n    MALE = "male"\n    FEMALE = "female"\n\n')
    for p in d.people(1, 5):
        constant = f"{enum}.{'FEMALE' if p.female else 'MALE'}"
        var = d.pick(snake(p.profession), p.snake, d.one())
        lines.append(
            d.pick(
                f"{var} = {d.cls()}({s.q(p.name)}, {s.q(p.occupation)}, {constant})",
                f"{var} = {d.cls()}({s.job}={s.q(p.occupation)}, {s.gender}={constant})",
                f"{var}.{s.job} = {s.q(p.occupation)}\n{var}.{s.gender} = {constant}",
                f"assert {s.gender}_of({s.q(p.occupation)}) is {constant}",
                f"if {var}.{s.job} == {s.q(p.written)} and {var}.{s.gender} == {constant}:\n    count += 1",
                f"# {p.a}\nadd({s.q(p.name)}, {constant})",
            )
        )
    return "\n".join(lines) + "\n"


@people
def java_enumeration(d: Draw) -> str:
    enum, cls = d.pick("Gender", "Gender", "Gender", "Sex"), d.cls()
    lines = []
    if d.chance(0.4):
        lines.append(
            f"{d.pick('public enum', 'enum', 'private enum')} {enum} {{ {d.pick('FEMALE, MALE', 'MALE, FEMALE', 'MALE, FEMALE, OTHER')} }}\n"
        )
    for p in d.people(1, 4):
        constant = f"{enum}.{'FEMALE' if p.female else 'MALE'}"
        var = camel(p.profession)
        var = var[0].lower() + var[1:]
        lines.append(
            d.pick(
                f'{cls} {var} = new {cls}("{p.name}", "{p.occupation}", {constant});',
                f"{cls} {var} = new {cls}({constant}); // {p.occupation}"
                if d.chance(0.2)
                else f'map.put("{p.occupation}", {constant});',
                f"{var}.set{enum}({constant});",
                f"// {p.a}\nadd({constant});",
                f'list.add(new {cls}("{p.occupation}", {p.age}, {constant}));',
                f'case "{p.occupation}":\n    return {constant};',
            )
        )
    return "\n".join(lines) + "\n"


@people
def cards(d: Draw) -> str:
    """Visiting cards and labels."""
    lines = []
    for p in d.people(1, 4):
        lines.append(
            d.pick(
                f'{p.snake}_card = "{capital(p.occupation)}: {addressed(d, p, p.surname)}"',
                f'label("{p.occupation}", "{addressed(d, p, p.surname)}")',
                f"# {p.occupation}: {addressed(d, p, p.surname)}",
            )
        )
    return "\n".join(lines) + "\n"
