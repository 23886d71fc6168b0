"""Shapes in other languages than Python."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw, Person, Style, camel, capital
from ..registry import people
from .sentences import THINGS, sentence


def lower_camel(text: str) -> str:
    name = camel(text)
    return name[:1].lower() + name[1:]


def js_fields(d: Draw, s: Style, p: Person) -> str:
    quoted_keys = d.chance(0.25)
    data = [(s.name, s.q(p.name))] if d.chance(0.7) else []
    if d.chance(0.3):
        data.append(("age", str(p.age)))
    data += [(s.job, s.q(p.occupation)), (s.gender, s.quoted(p))]
    if d.chance(0.2):
        data.append(("city", s.q(p.city)))
    return "{ " + ", ".join(f"{s.q(k) if quoted_keys else k}: {v}" for k, v in data) + " }"


@people
def javascript_objects(d: Draw) -> str:
    s = d.style()
    word = d.pick("const", "const", "let", "var")
    if d.chance(0.5):
        rows = "".join(f"  {js_fields(d, s, p)},\n" for p in d.people(2, 5))
        return f"{word} {d.many()} = [\n{rows}];\n"
    return "".join(
        f"{word} {lower_camel(p.occupation)} = {js_fields(d, s, p)};\n" for p in d.people(1, 4)
    )


@people
def javascript_filter(d: Draw) -> str:
    s, many, one = d.style(), d.many(), d.one()
    eq = d.pick("===", "===", "==")
    lines = []
    for p in d.people(1, 3):
        test = f"{one}.{s.job} {eq} {s.q(p.written)} && {one}.{s.gender} {eq} {s.quoted(p)}"
        lines.append(
            d.pick(
                f"const {lower_camel(p.occupations)} = {many}.filter({one} => {test});",
                f"const {lower_camel(p.occupations)} = {many}.filter(({one}) => {test});",
                f"if ({test}) {{\n  console.log({one}.name);\n}}",
                f"function {d.verb()}{camel(p.occupations)}({many}) {{\n  return {many}.filter(function ({one}) {{\n    return {test};\n  }});\n}}",
                f"for (const {one} of {many}) {{\n  if ({test}) {{\n    result.push({one});\n  }}\n}}",
                f"let found = {many}.find({one} => {test});",
            )
        )
    return "\n".join(lines) + "\n"


@people
def javascript_switch(d: Draw) -> str:
    s = d.style()
    lines = [f"switch ({s.job}) {{"]
    for p in d.people(2, 5):
        lines += [f"  case {s.q(p.occupation)}:", f"    return {s.quoted(p)};"]
    return "\n".join([*lines, "}"]) + "\n"


@people
def javascript_docs(d: Draw) -> str:
    p, thing = d.person(), d.choice(THINGS)
    text = capital(sentence(d, p))
    name = f"{d.verb()}{camel(p.occupation)}"
    return d.pick(
        f"/**\n * {text}.\n */\nfunction {name}() {{}}\n",
        f"/* {text}. */\nvar {lower_camel(thing)} = null;\n",
        f"// {text}\nfunction {name}({lower_camel(p.profession)}) {{\n  return {lower_camel(p.profession)}.{thing};\n}}\n",
        f'console.log("{text}");\n',
        f"throw new Error('{text}');\n",
        f"alert(`{text}`);\n",
    )


@people
def typescript(d: Draw) -> str:
    s, cls = d.style(), d.cls()
    lines = [
        f"const {lower_camel(p.profession)}: {cls} = {{ {s.job}: {s.q(p.occupation)}, {s.gender}: {s.quoted(p)} }};"
        for p in d.people(1, 4)
    ]
    return "\n".join(lines) + "\n"


@people
def java_code(d: Draw) -> str:
    s, cls = d.style('"'), d.cls()
    lines = []
    for p in d.people(1, 4):
        var = lower_camel(p.profession)
        job, gender = camel(s.job), camel(s.gender)
        lines.append(
            d.pick(
                f"{cls} {var} = new {cls}({s.q(p.name)}, {s.q(p.occupation)}, {s.quoted(p)});",
                f"{var}.set{job}({s.q(p.occupation)});\n{var}.set{gender}({s.quoted(p)});",
                f"if ({var}.get{job}().equals({s.q(p.occupation)}) && {var}.get{gender}().equals({s.quoted(p)})) {{\n    count++;\n}}",
                f"{cls} {var} = {cls}.builder().{s.job}({s.q(p.occupation)}).{s.gender}({s.quoted(p)}).build();",
                f"map.put({s.q(p.occupation)}, {s.quoted(p)});",
                f"list.add(new {cls}({s.q(p.occupation)}, {s.quoted(p)}));",
                f"String {s.job} = {s.q(p.occupation)};\nString {s.gender} = {s.quoted(p)};",
                f"{var}.filter(p -> p.{s.job}.equals({s.q(p.occupation)})).filter(p -> p.{s.gender}.equals({s.quoted(p)}));",
            )
        )
    return "\n".join(lines) + "\n"


@people
def java_class(d: Draw) -> str:
    s, p = d.style('"'), d.person()
    text = capital(sentence(d, p))
    return d.pick(
        f"public class {p.camel} extends {d.cls()} {{\n    private String {s.gender} = {s.quoted(p)};\n}}\n",
        f"/** {text}. */\npublic class {p.camel} {{\n}}\n",
        f"public String get{camel(s.gender)}() {{\n    // {p.occupation}\n    return {s.quoted(p)};\n}}\n",
        f"/**\n * {text}.\n */\npublic void {d.verb()}{p.camel}() {{\n}}\n",
    )


@people
def go_code(d: Draw) -> str:
    s, cls = d.style('"'), d.cls()
    job, gender = camel(s.job), camel(s.gender)
    rows = "".join(
        f"\t{{Name: {s.q(p.name)}, {job}: {s.q(p.occupation)}, {gender}: {s.quoted(p)}}},\n"
        for p in d.people(1, 5)
    )
    return f"{d.many()} := []{cls}{{\n{rows}}}\n"


@people
def ruby_and_php(d: Draw) -> str:
    s = d.style()
    lines = []
    for p in d.people(1, 4):
        lines.append(
            d.pick(
                f"{p.snake} = {{ {s.job}: {s.q(p.occupation)}, {s.gender}: {s.quoted(p)} }}",
                f"{p.snake} = {{ :{s.job} => {s.q(p.occupation)}, :{s.gender} => {s.quoted(p)} }}",
                f"$people[] = [{s.q(s.job)} => {s.q(p.occupation)}, {s.q(s.gender)} => {s.quoted(p)}];",
                f"{d.cls()}.where({s.job}: {s.q(p.occupation)}, {s.gender}: {s.quoted(p)})",
            )
        )
    return "\n".join(lines) + "\n"


@people
def c_code(d: Draw) -> str:
    s = d.style('"')
    rows = "".join(
        f"    {{{s.q(p.name)}, {p.age}, {s.q(p.occupation)}, {s.quoted(p)}}},\n"
        for p in d.people(2, 5)
    )
    return f"struct person {d.many()}[] = {{\n{rows}}};\n"


@people
def rust_code(d: Draw) -> str:
    s, cls = d.style('"'), d.cls()
    lines = [
        f"let {p.snake} = {cls} {{ {s.job}: {s.q(p.occupation)}.to_string(), {s.gender}: {s.quoted(p)}.to_string() }};"
        for p in d.people(1, 3)
    ]
    return "\n".join(lines) + "\n"


@people
def html_form(d: Draw) -> str:
    s = d.style('"')
    lines = []
    for p in d.people(1, 4):
        lines.append(
            d.pick(
                f"<tr><td>{p.name}</td><td>{p.occupation}</td><td>{s.value(p)}</td></tr>",
                f'<div class="{p.snake.replace("_", "-")}" data-{s.gender}="{s.value(p)}">{p.name}</div>',
                f'<input name="{s.job}" value="{p.occupation}"><input name="{s.gender}" value="{s.value(p)}">',
                f"<p>{capital(sentence(d, p))}.</p>",
            )
        )
    return "\n".join(lines) + "\n"


@people
def shell(d: Draw) -> str:
    s = d.style()
    lines = []
    for p in d.people(1, 4):
        lines.append(
            d.pick(
                f"{s.job.upper()}={s.q(p.occupation)} {s.gender.upper()}={s.quoted(p)} ./run.sh",
                f"export {s.job.upper()}={s.q(p.occupation)}\nexport {s.gender.upper()}={s.quoted(p)}",
                f"grep {s.q(p.occupation)} people.csv | grep {s.value(p)}",
                f"add_user {p.name.lower()} {s.q(p.occupation)} {s.value(p)}",
            )
        )
    return "\n".join(lines) + "\n"
