"""Shapes that write people down as data: dictionaries, JSON, CSV, YAML, constructors, test data."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

import json

from ..draw import Draw, Person, Style, capital, snake
from ..registry import people
from ..words import SKILLS

ABOUT = ("description", "about", "bio", "note", "info", "summary", "details", "text", "comment")


def fields(d: Draw, s: Style, names: bool | None = None) -> list[str]:
    """Field names of a record in the order of writing; the occupation comes before the gender."""
    keys = [s.name] if (d.chance(0.75) if names is None else names) else []
    keys += [k for k in ("id", "age") if d.chance(0.3)]
    about = d.choice(ABOUT) if d.chance(0.35) else ""
    if about:
        keys.append(about)
    if not about or d.chance(0.6):
        keys.append(s.job)
    keys += [k for k in ("city", "salary", "age") if d.chance(0.12) and k not in keys]
    keys.append(s.gender)
    keys += [k for k in ("email", "active", "skill", "years") if d.chance(0.2)]
    return keys


def record(d: Draw, s: Style, p: Person, keys: list[str]) -> dict[str, object]:
    values: dict[str, object] = {
        s.name: p.name if d.chance(0.6) else f"{p.name} {p.surname}",
        "id": d.number(1, 999),
        "age": p.age,
        s.job: p.occupation,
        s.gender: s.value(p),
        "city": p.city,
        "salary": d.number(20, 140) * 1000,
        "email": f"{p.surname.lower()}@example.org",
        "active": d.chance(0.5),
        "skill": d.choice(SKILLS),
        "years": d.number(1, 30),
    }
    values.update(dict.fromkeys(ABOUT, description(d, p)))
    if any(key in ABOUT for key in keys):
        values[s.job] = p.written
    return {key: values[key] for key in keys}


def description(d: Draw, p: Person) -> str:
    """A few words on the person that hold the occupation and no gender."""
    if d.chance(0.6):
        return d.pick(p.occupation, p.a, capital(p.a), capital(p.occupation))
    return d.pick(
        f"{p.a} from {p.city}",
        f"{capital(p.a)} from {p.city}.",
        f"works as {p.a}",
        f"{capital(p.a)} who likes {d.choice(SKILLS)}.",
        f"{p.a} with {d.number(2, 30)} years of work",
        f"loves {d.choice(SKILLS)}, {p.a}",
        f"{p.occupation} in {p.city}",
    )


def literal(value: object, s: Style) -> str:
    return s.q(value) if isinstance(value, str) else repr(value)


def inline(s: Style, data: dict[str, object]) -> str:
    return "{" + ", ".join(f"{s.q(k)}: {literal(v, s)}" for k, v in data.items()) + "}"


def keywords(s: Style, data: dict[str, object]) -> str:
    return ", ".join(f"{k}={literal(v, s)}" for k, v in data.items())


@people
def dictionary(d: Draw) -> str:
    s, p = d.style(), d.person()
    data = record(d, s, p, fields(d, s))
    var = d.pick(
        snake(p.profession), p.snake, "person", "record", "employee", "user", "data", "entry"
    )
    if d.chance(0.5):
        return f"{var} = {inline(s, data)}\n"
    lines = "".join(f"    {s.q(k)}: {literal(v, s)},\n" for k, v in data.items())
    return f"{var} = {{\n{lines}}}\n"


@people
def list_of_dictionaries(d: Draw) -> str:
    s = d.style()
    keys = fields(d, s)
    rows = "".join(f"    {inline(s, record(d, s, p, keys))},\n" for p in d.people(2, 6))
    return f"{d.many()} = [\n{rows}]\n"


@people
def appended(d: Draw) -> str:
    s, many = d.style(), d.many()
    keys = fields(d, s)
    lines = []
    for p in d.people(1, 5):
        data = record(d, s, p, keys)
        lines.append(
            d.pick(
                f"{many}.append({inline(s, data)})",
                f"{many}.append(dict({keywords(s, data)}))",
                f"add({inline(s, data)})",
            )
        )
    return "\n".join(lines) + "\n"


@people
def json_object(d: Draw) -> str:
    s = d.style('"')
    keys = fields(d, s)
    return json.dumps(record(d, s, d.person(), keys), indent=d.pick(2, 4, None)) + "\n"


@people
def json_array(d: Draw) -> str:
    s = d.style('"')
    keys = fields(d, s)
    rows = [record(d, s, p, keys) for p in d.people(2, 4)]
    data: object = {d.many(): rows} if d.chance(0.4) else rows
    return json.dumps(data, indent=d.pick(2, 2, None)) + "\n"


@people
def json_lines(d: Draw) -> str:
    s = d.style('"')
    keys = fields(d, s)
    return "".join(json.dumps(record(d, s, p, keys)) + "\n" for p in d.people(2, 7))


@people
def csv_table(d: Draw) -> str:
    s = d.style()
    keys = fields(d, s)
    rows = [",".join(str(v) for v in record(d, s, p, keys).values()) for p in d.people(3, 9)]
    mark = d.pick(",", ",", ";", "\t")
    return "\n".join([",".join(keys), *rows]).replace(",", mark) + "\n"


@people
def csv_in_python(d: Draw) -> str:
    s = d.style()
    keys = fields(d, s)
    rows = [",".join(str(v) for v in record(d, s, p, keys).values()) for p in d.people(2, 5)]
    var = d.pick("DATA", "CSV", "text", "SAMPLE", "rows")
    return f'{var} = """\\\n' + "\n".join([",".join(keys), *rows]) + '\n"""\n'


@people
def yaml_list(d: Draw) -> str:
    s = d.style()
    keys = fields(d, s)
    lines = [f"{d.many()}:"]
    for p in d.people(1, 5):
        items = [
            f"{k}: {str(v).lower() if isinstance(v, bool) else v}"
            for k, v in record(d, s, p, keys).items()
        ]
        lines += [f"  - {items[0]}"] + [f"    {item}" for item in items[1:]]
    return "\n".join(lines) + "\n"


@people
def toml_tables(d: Draw) -> str:
    s = d.style('"')
    keys = fields(d, s)
    out = []
    for p in d.people(1, 4):
        head = d.pick(f"[{snake(p.profession)}]", f"[[{d.many()}]]", f"[person.{d.number(1, 99)}]")
        out.append(
            "\n".join([head] + [f"{k} = {json.dumps(v)}" for k, v in record(d, s, p, keys).items()])
        )
    return "\n\n".join(out) + "\n"


@people
def xml_elements(d: Draw) -> str:
    s = d.style('"')
    keys = fields(d, s)
    tag = d.pick("person", "employee", "worker", "user", "member")
    lines = []
    for p in d.people(1, 4):
        data = record(d, s, p, keys)
        if d.chance(0.5):
            lines.append(f"<{tag} " + " ".join(f'{k}="{v}"' for k, v in data.items()) + "/>")
        else:
            lines.append(
                f"<{tag}>" + "".join(f"<{k}>{v}</{k}>" for k, v in data.items()) + f"</{tag}>"
            )
    return "\n".join(lines) + "\n"


@people
def markdown_table(d: Draw) -> str:
    s = d.style()
    keys = fields(d, s)
    lines = ["| " + " | ".join(keys) + " |", "|" + " --- |" * len(keys)]
    lines += [
        "| " + " | ".join(str(v) for v in record(d, s, p, keys).values()) + " |"
        for p in d.people(2, 6)
    ]
    return "\n".join(lines) + "\n"


@people
def constructors(d: Draw) -> str:
    s, cls = d.style(), d.cls()
    keys = fields(d, s)
    lines = []
    for p in d.people(1, 5):
        data = record(d, s, p, keys)
        var = d.pick(snake(p.profession), p.snake, d.one(), "person")
        values = ", ".join(literal(v, s) for v in data.values())
        lines.append(
            d.pick(
                f"{var} = {cls}({keywords(s, data)})",
                f"{var} = {cls}({keywords(s, data)})",
                f"{var} = {cls}({values})",
                f"{var} = {cls}(**{inline(s, data)})",
            )
        )
    return "\n".join(lines) + "\n"


@people
def constructor_lines(d: Draw) -> str:
    s, cls, p = d.style(), d.cls(), d.person()
    data = record(d, s, p, fields(d, s))
    lines = "".join(f"    {k}={literal(v, s)},\n" for k, v in data.items())
    return f"{d.pick(snake(p.profession), p.snake, 'person')} = {cls}(\n{lines})\n"


@people
def tuples(d: Draw) -> str:
    s = d.style()
    keys = fields(d, s)
    rows = "".join(
        "    (" + ", ".join(literal(v, s) for v in record(d, s, p, keys).values()) + "),\n"
        for p in d.people(2, 8)
    )
    return f"{d.pick(d.many(), d.many().upper(), 'DATA', 'TEST_DATA')} = [\n{rows}]\n"


@people
def sql_insert(d: Draw) -> str:
    s = d.style("'")
    keys = fields(d, s)
    rows = ",\n".join(
        "  (" + ", ".join(literal(v, s) for v in record(d, s, p, keys).values()) + ")"
        for p in d.people(2, 8)
    )
    table = d.pick("people", "employees", "staff", "users", "members", "workers")
    return f"INSERT INTO {table} ({', '.join(keys)}) VALUES\n{rows};\n"


@people
def mapping(d: Draw) -> str:
    """Occupation -> gender as one dictionary."""
    s = d.style()
    rows = [f"{s.q(p.occupation)}: {s.quoted(p)}" for p in d.people(3, 10, 0.2)]
    name = d.pick(
        f"{s.gender.upper()}_BY_{s.job.upper()}",
        f"default_{s.gender}",
        f"{s.job}_{s.gender}s",
        "DEFAULTS",
        "lookup",
    )
    if d.chance(0.5):
        return f"{name} = {{" + ", ".join(rows) + "}\n"
    return f"{name} = {{\n" + "".join(f"    {r},\n" for r in rows) + "}\n"


@people
def data_class(d: Draw) -> str:
    s, cls, p = d.style(), d.cls(), d.person()
    body = f"    {s.name}: str\n    {s.job}: str = {s.q(p.occupation)}\n    {s.gender}: str = {s.quoted(p)}\n"
    if d.chance(0.5):
        return f"@dataclass\nclass {p.camel if d.chance(0.6) else cls}:\n{body}"
    return f"class {p.camel}({cls}):\n    {s.job} = {s.q(p.occupation)}\n    {s.gender} = {s.quoted(p)}\n"


@people
def class_definition(d: Draw) -> str:
    s, p = d.style(), d.person()
    doc = d.pick("", f'    """{p.a.capitalize()}."""\n\n')
    return d.pick(
        f"class {p.camel}:\n{doc}    def __init__(self, {s.name}):\n        self.{s.name} = {s.name}\n        self.{s.gender} = {s.quoted(p)}\n",
        f"class {p.camel}({d.cls()}):\n{doc}    {s.gender} = {s.quoted(p)}\n",
        f"def make_{p.snake}({s.name}, {s.gender}={s.quoted(p)}):\n    return {d.cls()}({s.name}, {s.q(p.occupation)}, {s.gender})\n",
        f"def create_{p.snake}({s.name}):\n    return {inline(s, {s.job: p.occupation, s.gender: s.value(p)})}\n",
    )
