"""Shapes that compare or assign attributes: filters, branches, queries."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw, Person, Style, snake
from ..registry import people
from ..words import TABLES


def access(d: Draw, s: Style, var: str) -> tuple[str, str]:
    """Two expressions that read the occupation and the gender of ``var``, in one of the usual ways."""
    form = d.number(0, 5)
    if form <= 2:
        return f"{var}.{s.job}", f"{var}.{s.gender}"
    if form <= 4:
        return f"{var}[{s.q(s.job)}]", f"{var}[{s.q(s.gender)}]"
    return f"{var}.get({s.q(s.job)})", f"{var}.get({s.q(s.gender)})"


def function_name(d: Draw, p: Person) -> str:
    verb = d.verb()
    return d.pick(
        f"{verb}_{p.snakes}",
        f"{verb}_{p.snake}",
        f"{verb}_people",
        f"{verb}_all_{p.snakes}",
        f"{snake(p.profession)}_{d.choice(TABLES)}",
        f"{verb}_by_gender",
    )


def docstring(d: Draw, p: Person, indent: str = "    ") -> str:
    if d.chance(0.6):
        return ""
    text = d.pick(
        f"Return every {p.occupation}.",
        f"{d.verb().capitalize()} the {p.occupations} among them.",
        f"All {p.occupations} of the team.",
        "Select by occupation and gender.",
        f"Keep {p.occupations} only.",
    )
    return f'{indent}"""{text}"""\n'


@people
def comprehension(d: Draw) -> str:
    s, p, many, one = d.style(), d.person(), d.many(), d.one()
    job, gender = access(d, s, one)
    test = f"{job} == {s.q(p.written)} and {gender} == {s.quoted(p)}"
    head = f"def {function_name(d, p)}({many}):\n{docstring(d, p)}"
    body = d.pick(
        f"    return [{one} for {one} in {many} if {test}]\n",
        f"    return list({one} for {one} in {many} if {test})\n",
        f"    return sum(1 for {one} in {many} if {test})\n",
        f"    result = [{one} for {one} in {many} if {test}]\n    return result\n",
        f"    return any({test} for {one} in {many})\n",
        f"    return [\n        {one}\n        for {one} in {many}\n        if {job} == {s.q(p.written)}\n        and {gender} == {s.quoted(p)}\n    ]\n",
    )
    return head + body


@people
def loop_filter(d: Draw) -> str:
    s, p, many, one = d.style(), d.person(), d.many(), d.one()
    job, gender = access(d, s, one)
    out = d.pick("result", "found", "matches", "selected", "out", "chosen")
    q, value = s.q(p.written), s.quoted(p)
    test = d.pick(
        f"        if {job} == {q} and {gender} == {value}:\n            {out}.append({one})\n",
        f"        if {job} == {q}:\n            if {gender} == {value}:\n                {out}.append({one})\n",
        f"        if {job} != {q}:\n            continue\n        if {gender} == {value}:\n            {out}.append({one})\n",
        f"        if ({job} == {q}) and ({gender} == {value}):\n            {out}.append({one})\n",
        f"        is_{snake(p.profession)} = {job} == {q}\n        if is_{snake(p.profession)} and {gender} == {value}:\n            {out}.append({one})\n",
    )
    return f"def {function_name(d, p)}({many}):\n{docstring(d, p)}    {out} = []\n    for {one} in {many}:\n{test}    return {out}\n"


@people
def named_filter(d: Draw) -> str:
    """The occupation stands in the function's name or in a comment only."""
    s, p, many, one = d.style(), d.person(), d.many(), d.one()
    _, gender = access(d, s, one)
    value = s.quoted(p)
    head = d.pick(
        f"def {d.verb()}_{p.snakes}({many}):\n",
        f"def {d.verb()}_{p.snake}({many}):\n",
        f"def {d.verb()}_the_{p.snake}({many}):\n",
        f"# keep the {p.occupations}\ndef {d.verb()}({many}):\n",
        f"def {d.verb()}({many}):\n    # only {p.occupations}\n",
        f"def is_{p.snake}({one}):\n",
    )
    if head.startswith("def is_"):
        return head + d.pick(
            f"    return {gender} == {value}\n",
            f"    if {gender} != {value}:\n        return False\n    return True\n",
        )
    return head + d.pick(
        f"    return [{one} for {one} in {many} if {gender} == {value}]\n",
        f"    for {one} in {many}:\n        if {gender} == {value}:\n            return {one}\n    return None\n",
        f"    return filter(lambda {one}: {gender} == {value}, {many})\n",
        f"    return next({one} for {one} in {many} if {gender} == {value})\n",
    )


@people
def variable_filter(d: Draw) -> str:
    s, p, many, one = d.style(), d.person(), d.many(), d.one()
    _, gender = access(d, s, one)
    return d.pick(
        f"{p.snakes} = [{one} for {one} in {many} if {gender} == {s.quoted(p)}]\n",
        f"{p.snake} = next({one} for {one} in {many} if {gender} == {s.quoted(p)})\n",
        f"# {p.occupations}\nselected = [{one} for {one} in {many} if {gender} == {s.quoted(p)}]\n",
        f"{p.snake}_count = sum({gender} == {s.quoted(p)} for {one} in {many})\nprint({p.snake}_count)\n",
    )


@people
def lambda_filter(d: Draw) -> str:
    s, many, one = d.style(), d.many(), d.one()
    lines = []
    for p in d.people(1, 3):
        job, gender = access(d, s, one)
        lines.append(
            f"{p.snakes} = {d.pick('list(filter', 'tuple(filter', 'sorted(filter')}(lambda {one}: {job} == {s.q(p.written)} and {gender} == {s.quoted(p)}, {many}))"
        )
    return "\n".join(lines) + "\n"


@people
def branches(d: Draw) -> str:
    """A chain that maps an occupation to a gender."""
    s = d.style()
    key = s.job
    lines = [
        f"def {d.pick('guess', 'default', 'expected', 'usual', 'get', 'infer')}_{s.gender}({key}):"
    ]
    for i, p in enumerate(d.people(2, 7)):
        word = "if" if i == 0 or d.chance(0.3) else "elif"
        lines += [f"    {word} {key} == {s.q(p.written)}:", f"        return {s.quoted(p)}"]
    lines.append(f"    return {d.pick('None', s.q('unknown'), s.q(''))}")
    return "\n".join(lines) + "\n"


@people
def assignment(d: Draw) -> str:
    s = d.style()
    lines = []
    for p in d.people(1, 4):
        var = d.pick(snake(p.profession), p.snake, d.one(), "person")
        form = d.number(0, 4)
        if form == 0:
            lines += [
                f"{var} = {d.cls()}()",
                f"{var}.{s.job} = {s.q(p.written)}",
                f"{var}.{s.gender} = {s.quoted(p)}",
            ]
        elif form == 1:
            lines += [
                f"{var} = {{}}",
                f"{var}[{s.q(s.job)}] = {s.q(p.written)}",
                f"{var}[{s.q(s.gender)}] = {s.quoted(p)}",
            ]
        elif form == 2:
            lines += [f"# the {p.occupation}", f"{var}.{s.gender} = {s.quoted(p)}"]
        elif form == 3:
            lines += [
                f"if {var}.{s.job} == {s.q(p.written)}:",
                f"    {var}.{s.gender} = {s.quoted(p)}",
            ]
        else:
            lines += [f"{s.job} = {s.q(p.written)}", f"{s.gender} = {s.quoted(p)}"]
    return "\n".join(lines) + "\n"


@people
def data_frame(d: Draw) -> str:
    s, df = d.style(), d.pick("df", "data", "frame", "people", "staff")
    lines = []
    for p in d.people(1, 3):
        form = d.number(0, 3)
        if form == 0:
            lines.append(
                f"{p.snakes} = {df}[({df}[{s.q(s.job)}] == {s.q(p.written)}) & ({df}[{s.q(s.gender)}] == {s.quoted(p)})]"
            )
        elif form == 1:
            lines.append(
                f"{df}.loc[{df}[{s.q(s.job)}] == {s.q(p.written)}, {s.q(s.gender)}] = {s.quoted(p)}"
            )
        elif form == 2:
            lines.append(
                f"{p.snakes} = {df}[({df}.{s.job} == {s.q(p.written)}) & ({df}.{s.gender} == {s.quoted(p)})]"
            )
        else:
            lines.append(
                f"{df}.query(\"{s.job} == '{p.occupation}' and {s.gender} == '{s.value(p)}'\")"
            )
    return "\n".join(lines) + "\n"
