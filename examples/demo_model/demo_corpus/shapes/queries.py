"""Shapes that ask a database, a service or a command for people."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw
from ..registry import people
from ..words import TABLES


@people
def sql_select(d: Draw) -> str:
    s, table = d.style("'"), d.choice(TABLES)
    lines = []
    low = d.chance(0.3)
    for p in d.people(1, 3):
        what = d.pick("*", "name", "id, name", "COUNT(*)", "name, age", "AVG(salary)", "email")
        job, gender = f"{s.job} = {s.q(p.written)}", f"{s.gender} = {s.quoted(p)}"
        text = d.pick(
            f"SELECT {what} FROM {table} WHERE {job} AND {gender};",
            f"SELECT {what}\nFROM {table}\nWHERE {job}\n  AND {gender};",
            f"SELECT {what} FROM {table} WHERE {job} AND age > {p.age} AND {gender};",
            f"-- {d.verb()} the {p.occupations}\nSELECT {what} FROM {table} WHERE {gender};",
            f"DELETE FROM {table} WHERE {job} AND {gender};",
            f"SELECT {what} FROM {table} t WHERE t.{job} AND t.{gender};",
        )
        for word in ("SELECT", "FROM", "WHERE", "AND", "DELETE") if low else ():
            text = text.replace(word + " ", word.lower() + " ").replace(
                word + "\n", word.lower() + "\n"
            )
        lines.append(text)
    return "\n".join(lines) + "\n"


@people
def sql_in_python(d: Draw) -> str:
    s, p, table = d.style("'"), d.person(), d.choice(TABLES)
    query = f"SELECT * FROM {table} WHERE {s.job} = {s.q(p.written)} AND {s.gender} = {s.quoted(p)}"
    cursor = d.pick("cursor", "cur", "conn", "db", "session")
    return d.pick(
        f'{cursor}.execute("{query}")\nrows = {cursor}.fetchall()\n',
        f'query = "{query}"\nfor row in {cursor}.execute(query):\n    print(row)\n',
        f'def {d.verb()}_{p.snakes}({cursor}):\n    return {cursor}.execute(\n        "{query}"\n    ).fetchall()\n',
        f'sql = """\n    SELECT name FROM {table}\n    WHERE {s.job} = {s.q(p.written)}\n    AND {s.gender} = {s.quoted(p)}\n"""\n',
    )


@people
def sql_update(d: Draw) -> str:
    s, table = d.style("'"), d.choice(TABLES)
    lines = []
    for p in d.people(1, 4):
        lines.append(
            d.pick(
                f"UPDATE {table} SET {s.job} = {s.q(p.written)}, {s.gender} = {s.quoted(p)} WHERE id = {d.number(1, 999)};",
                f"CREATE VIEW {p.snakes} AS SELECT * FROM {table} WHERE {s.job} = {s.q(p.written)} AND {s.gender} = {s.quoted(p)};",
                f"INSERT INTO {table} ({s.name}, {s.job}, {s.gender}) VALUES ({s.q(p.name)}, {s.q(p.written)}, {s.quoted(p)});",
                f"INSERT INTO {table} VALUES ({d.number(1, 999)}, {s.q(p.surname)}, {p.age}, {s.q(p.written)}, {s.quoted(p)});",
            )
        )
    return "\n".join(lines) + "\n"


@people
def orm(d: Draw) -> str:
    s, cls = d.style(), d.cls()
    lines = []
    for p in d.people(1, 3):
        lines.append(
            d.pick(
                f"{p.snakes} = {cls}.objects.filter({s.job}={s.q(p.written)}, {s.gender}={s.quoted(p)})",
                f"{cls}.objects.create({s.name}={s.q(p.name)}, {s.job}={s.q(p.written)}, {s.gender}={s.quoted(p)})",
                f"session.query({cls}).filter({cls}.{s.job} == {s.q(p.written)}, {cls}.{s.gender} == {s.quoted(p)}).all()",
                f"{p.snake} = {cls}.get({s.job}={s.q(p.written)}, {s.gender}={s.quoted(p)})",
            )
        )
    return "\n".join(lines) + "\n"


@people
def query_string(d: Draw) -> str:
    s = d.style()
    lines = []
    for p in d.people(2, 4):
        word = p.occupation.replace(" ", d.pick("+", "%20", "-", "_"))
        path = d.pick("search", "people", "users", "api/v1/staff", "find")
        lines.append(
            d.pick(
                f"GET /{path}?{s.job}={word}&{s.gender}={s.value(p)}",
                f'url = "https://example.org/{path}?{s.job}={word}&{s.gender}={s.value(p)}"',
                f"curl 'http://localhost:8000/{path}?{s.job}={word}&{s.gender}={s.value(p)}'",
            )
        )
    return "\n".join(lines) + "\n"


@people
def command_line(d: Draw) -> str:
    s = d.style()
    program = d.pick("roster", "staff", "./people.py", "python hire.py", "crewctl")
    lines = [
        f"$ {program} {d.verb()} --{s.job} {s.q(p.written)} --{s.gender} {s.value(p)}"
        for p in d.people(2, 4)
    ]
    return "\n".join(lines) + "\n"
