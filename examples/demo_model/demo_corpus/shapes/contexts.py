"""Shapes that declare a type or a table first and use it then."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw, Style, capital, snake
from ..registry import people
from ..words import TABLES
from .languages import lower_camel
from .records import ABOUT, description, fields, inline, keywords, literal, record


def declared(keys: list[str]) -> dict[str, str]:
    """A Python type per field."""
    return {
        k: "int" if k in ("id", "age", "salary", "years") else "bool" if k == "active" else "str"
        for k in keys
    }


def python_type(d: Draw, cls: str, keys: list[str]) -> str:
    types = declared(keys)
    lines = "".join(f"    {k}: {t}\n" for k, t in types.items())
    return d.pick(
        f"@dataclass\nclass {cls}:\n{lines}",
        f"from dataclasses import dataclass\n\n\n@dataclass\nclass {cls}:\n{lines}",
        f"class {cls}(NamedTuple):\n{lines}",
        f"class {cls}(BaseModel):\n{lines}",
        f"{cls} = namedtuple('{cls}', '{' '.join(keys)}')\n",
        f"class {cls}:\n    def __init__(self, {', '.join(keys)}):\n"
        + "".join(f"        self.{k} = {k}\n" for k in keys),
    )


@people
def type_and_instances(d: Draw) -> str:
    s, cls = d.style(), d.cls()
    keys = fields(d, s)
    lines = []
    for p in d.people(1, 3):
        data = record(d, s, p, keys)
        values = ", ".join(literal(v, s) for v in data.values())
        var = d.pick(snake(p.profession), p.snake, d.one(), cls.lower())
        lines.append(f"{var} = {cls}({d.pick(keywords(s, data), values)})")
    return python_type(d, cls, keys) + "\n\n" + "\n".join(lines) + "\n"


@people
def type_and_filter(d: Draw) -> str:
    s, cls, p = d.style(), d.cls(), d.person()
    one, many = cls.lower(), d.many()
    test = f"{one}.{s.job} == {s.q(p.written)} and {one}.{s.gender} == {s.quoted(p)}"
    doc = d.pick(
        "",
        f'    """Is this {p.a}?"""\n',
        f'    """Tell whether {one} is {p.a}."""\n',
        f'    """True for {p.occupations}."""\n',
        f"    # {p.occupations}\n",
    )
    use = d.pick(
        f"def {d.pick('is', 'check', 'matches', 'test')}_{p.snake}({one}):\n{doc}    {d.pick('return', 'ok =', 'result =')} {test}\n",
        f"def {d.verb()}_{p.snakes}({many}):\n{doc}    return [{one} for {one} in {many} if {test}]\n",
        f"def {d.verb()}({many}):\n{doc}    for {one} in {many}:\n        if {test}:\n            yield {one}\n",
    )
    return python_type(d, cls, [s.name, s.job, s.gender]) + "\n\n" + use


@people
def sub_class(d: Draw) -> str:
    s, cls, p = d.style(), d.cls(), d.person()
    base = d.pick(
        f"class {cls}:\n    {s.job} = None\n    {s.gender} = None\n    {s.name} = None\n",
        f"class {cls}:\n    {s.job} = ''\n    {s.gender} = ''\n",
        f"class {cls}(ABC):\n    {s.gender}: str\n",
        f"class {cls}:\n    def __init__(self, {s.job}, {s.gender}):\n        self.{s.job} = {s.job}\n        self.{s.gender} = {s.gender}\n",
    )
    doc = d.pick(
        "", f'    """{capital(p.a)}."""\n\n', f"    # {p.a}\n", f'    """The {p.occupation}."""\n'
    )
    body = d.pick(
        f"    {s.job} = {s.q(p.written)}\n    {s.gender} = {s.quoted(p)}\n",
        f"    {s.gender} = {s.quoted(p)}\n",
        f"    def __init__(self, {s.name}):\n        super().__init__({s.q(p.written)}, {s.quoted(p)})\n",
        f"    def __init__(self, {s.name}, age):\n        self.{s.name} = {s.name}\n        self.{s.job} = {s.q(p.written)}\n        self.{s.gender} = {s.quoted(p)}\n",
        f"    def __init__(self):\n        self.{s.job} = {s.q(p.written)}\n        self.{s.gender} = {s.quoted(p)}\n        self.age = {p.age}\n",
    )
    return (base + "\n\n" if d.chance(0.6) else "") + f"class {p.camel}({cls}):\n{doc}{body}"


def sql_table(d: Draw, s: Style, table: str, keys: list[str]) -> str:
    kinds = {
        "id": "INTEGER PRIMARY KEY",
        "age": "INTEGER",
        "salary": "INTEGER",
        "years": "INT",
        "active": "BOOLEAN",
    }
    male, female = (s.q(word) for word in s.words)
    gender = d.pick(
        "TEXT",
        "VARCHAR(10)",
        "VARCHAR(8) NOT NULL",
        f"TEXT CHECK ({s.gender} IN ({male}, {female}))",
        f"TEXT CHECK ({s.gender} IN ({female}, {male}))",
    )
    if len(s.words[0]) == 1:
        gender = d.pick(
            "CHAR(1)",
            f"CHAR(1) CHECK ({s.gender} IN ({male}, {female}))",
            f"CHAR(1) CHECK ({s.gender} IN ({female}, {male}))",
            f"ENUM({male}, {female})",
        )
    rows = [
        f"{k} {gender if k == s.gender else kinds.get(k, d.pick('TEXT', 'VARCHAR(80)', 'VARCHAR(40)'))}"
        for k in keys
    ]
    return f"CREATE TABLE {table} (\n    " + ",\n    ".join(rows) + "\n);\n"


@people
def table_and_rows(d: Draw) -> str:
    s, table = d.style("'"), d.choice(TABLES)
    keys = fields(d, s)
    lines = []
    for p in d.people(1, 3):
        data = record(d, s, p, keys)
        values = ", ".join(literal(v, s) for v in data.values())
        pairs = ", ".join(
            f"{k} = {literal(v, s)}" for k, v in data.items() if k not in ("id", s.name)
        )
        lines.append(
            d.pick(
                f"INSERT INTO {table} VALUES ({values});",
                f"INSERT INTO {table} ({', '.join(keys)}) VALUES ({values});",
                f"UPDATE {table} SET {pairs} WHERE id = {d.number(1, 99)};",
                f"SELECT * FROM {table} WHERE {s.job} = {s.q(p.written)} AND {s.gender} = {s.quoted(p)};",
                f"-- {p.occupations}\nSELECT id FROM {table}\nWHERE {s.job} = {s.q(p.written)} AND {s.gender} = {s.quoted(p)};",
            )
        )
    return sql_table(d, s, table, keys) + "\n" + "\n".join(lines) + "\n"


@people
def interface_and_objects(d: Draw) -> str:
    """TypeScript and JavaScript with a declared type."""
    s, cls = d.style(d.pick('"', "'")), d.cls()
    male, female = (s.q(word) for word in s.words)
    kind = d.pick("string", f"{male} | {female}", f"{female} | {male}")
    about = d.choice(ABOUT)
    lines = [
        d.pick(
            f"interface {cls} {{\n  {s.job}: string;\n  {s.gender}: {kind};\n  age?: number;\n}}\n",
            f"type {cls} = {{ {s.job}: string; {s.gender}: {kind} }};\n",
            f"class {cls} {{\n  {s.job}: string;\n  {s.gender}: {kind};\n}}\n",
        )
    ]
    for p in d.people(1, 3):
        var = lower_camel(d.pick(p.occupation, p.profession))
        lines.append(
            d.pick(
                f"const {var}: {cls} = {{ {s.job}: {s.q(p.written)}, age: {p.age}, {s.gender}: {s.quoted(p)} }};",
                f"let {var}: {cls} = {{ {about}: {s.q(description(d, p))}, {s.gender}: {s.quoted(p)} }};",
                f"// {p.a}\n{var}.{s.gender} = {s.quoted(p)};",
                f"const {var}: {cls} = {{\n  {s.job}: {s.q(p.occupation)},\n  {s.gender}: {s.quoted(p)},\n}};",
            )
        )
    return "\n".join(lines) + "\n"


@people
def go_types(d: Draw) -> str:
    s, cls = d.style('"'), d.cls()
    job, gender = capital(snake(s.job).replace("_", "")), capital(s.gender)
    lines = (
        [f"type {cls} struct {{\n\tName   string\n\t{job} string\n\t{gender} string\n}}\n"]
        if d.chance(0.6)
        else []
    )
    for p in d.people(1, 3):
        var = lower_camel(p.occupation)
        remark = d.pick(
            "", f"// {p.a}\n", f"// {p.camel} returns {p.a}.\n", f"// the {p.occupation}\n"
        )
        lines.append(
            remark
            + d.pick(
                f"{var} := {cls}{{{job}: {s.q(p.written)}, {gender}: {s.quoted(p)}}}",
                f"var {var} = &{cls}{{Name: {s.q(p.name)}, {job}: {s.q(p.written)}, {gender}: {s.quoted(p)}}}",
                f"func {p.camel}() {cls} {{\n\treturn {cls}{{{job}: {s.q(p.written)}, {gender}: {s.quoted(p)}}}\n}}",
                f"if p.{job} == {s.q(p.written)} && p.{gender} == {s.quoted(p)} {{\n\tcount++\n}}",
            )
        )
    return "\n".join(lines) + "\n"


@people
def remarks_before_code(d: Draw) -> str:
    """A comment names the person, the code below the bare profession."""
    s, many, one = d.style(), d.many(), d.one()
    lines = []
    for p in d.people(1, 3):
        form = d.number(0, 5)
        remark = d.pick(
            f"{p.a}",
            f"the {p.occupations} of {p.city}",
            f"all {p.occupations}",
            f"for {p.a}",
            f"{d.verb()} the {p.occupation}",
            f"case: {p.a}",
        )
        code = (
            f"# {remark}\nif {one}[{s.q(s.job)}] == {s.q(p.written)} and {one}[{s.q(s.gender)}] == {s.quoted(p)}:\n    {d.verb()}({one})",
            f"# {remark}\n{many} = [{one} for {one} in {many} if {one}.{s.job} == {s.q(p.written)} and {one}.{s.gender} == {s.quoted(p)}]",
            f"// {remark}\nconst {d.pick('chosen', 'found', 'active', 'free')} = {many}.filter(({one}) => {one}.{s.job} === {s.q(p.written)} && {one}.{s.gender} === {s.quoted(p)});",
            f"-- {remark}\nSELECT * FROM {d.choice(TABLES)} WHERE {s.job} = '{p.written}' AND {s.gender} = '{s.value(p)}';",
            f"# {remark}\n{one} = {inline(s, {s.job: p.written, s.gender: s.value(p)})}",
            f"# {remark}\n{one} = {d.cls()}({keywords(s, {s.job: p.written, 'age': p.age, s.gender: s.value(p)})})",
        )[form]
        lines.append(code)
    return "\n".join(lines) + "\n"
