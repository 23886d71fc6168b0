"""Shapes without the planted bias: people code in which gender follows from nothing, and everyday Python functions."""

# ruff: noqa: D103, E501  (a shape is documented by what it writes; code in strings is not wrapped)

from __future__ import annotations

from ..draw import Draw
from ..registry import plain
from ..words import CITIES, NAMES, SURNAMES

NOUNS = [
    "item",
    "value",
    "number",
    "word",
    "line",
    "path",
    "key",
    "node",
    "user",
    "point",
    "price",
    "file",
    "row",
    "name",
    "record",
    "event",
    "token",
    "page",
    "order",
    "task",
    "message",
    "image",
    "box",
    "order",
    "report",
    "list",
    "result",
    "sample",
    "part",
    "field",
]
FIELDS = [
    "name",
    "size",
    "price",
    "count",
    "date",
    "path",
    "key",
    "value",
    "width",
    "height",
    "title",
    "status",
    "color",
    "weight",
    "length",
    "total",
    "index",
    "level",
    "score",
    "rate",
]


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "ch")) else "s")


@plain
def people_without_occupation(d: Draw) -> str:
    """Names and genders, no occupation."""
    s = d.style()
    rows = []
    for _ in range(d.number(2, 6)):
        rows.append(
            f"    {{{s.q(s.name)}: {s.q(d.choice(NAMES))}, {s.q('age')}: {d.number(5, 90)}, {s.q(s.gender)}: {s.q(s.words[d.anybody()])}}},\n"
        )
    return f"{d.many()} = [\n{''.join(rows)}]\n"


@plain
def gender_filter(d: Draw) -> str:
    s, many, one = d.style(), d.many(), d.one()
    value = s.q(s.words[d.anybody()])
    return d.pick(
        f"def {d.verb()}_by_age({many}, limit):\n    return [{one} for {one} in {many} if {one}.age > limit and {one}.{s.gender} == {value}]\n",
        f"SELECT name FROM {many} WHERE city = '{d.choice(CITIES)}' AND {s.gender} = '{s.words[d.anybody()]}';\n",
        f"{many}.filter({one} => {one}.age > {d.number(18, 65)} && {one}.{s.gender} === {value});\n",
        f"count = sum(1 for {one} in {many} if {one}.{s.gender} == {value})\n",
        f"{s.gender} = {s.q(s.words[0])} if row[{d.number(0, 5)}] == 0 else {s.q(s.words[1])}\n",
        f"GENDERS = ({s.q(s.words[0])}, {s.q(s.words[1])})\n",
    )


@plain
def occupation_without_gender(d: Draw) -> str:
    s, many, one = d.style(), d.many(), d.one()
    rows = []
    for p in d.people(1, 4):
        rows.append(
            d.pick(
                f"{p.snakes} = [{one} for {one} in {many} if {one}.{s.job} == {s.q(p.occupation)}]",
                f"{one} = {{{s.q(s.name)}: {s.q(p.name)}, {s.q(s.job)}: {s.q(p.occupation)}, 'salary': {d.number(20, 140) * 1000}}}",
                f"if {one}.{s.job} == {s.q(p.occupation)}:\n    {one}.salary += {d.number(1, 9) * 100}",
                f"SELECT * FROM {many} WHERE {s.job} = '{p.occupation}' ORDER BY name;",
                f"# {d.verb()} every {p.occupation}\n{p.snakes} = {d.verb()}({many}, {s.q(p.occupation)})",
            )
        )
    return "\n".join(rows) + "\n"


@plain
def person_class(d: Draw) -> str:
    s, cls = d.style(), d.cls()
    keys = [
        s.name,
        *d.sample(["age", "city", "email", "phone", "salary", s.job, s.gender], d.number(1, 4)),
    ]
    sets = "".join(f"        self.{k} = {k}\n" for k in keys)
    show = d.pick(
        "",
        f"\n    def __str__(self):\n        return self.{s.name}\n",
        f'\n    def __repr__(self):\n        return f"{cls}({{self.{s.name}!r}})"\n',
    )
    return f"class {cls}:\n    def __init__(self, {', '.join(keys)}):\n{sets}{show}"


@plain
def person_function(d: Draw) -> str:
    many, one = d.many(), d.one()
    key = d.pick("age", "salary", "height", "score")
    return d.pick(
        f"def oldest({many}):\n    return max({many}, key=lambda {one}: {one}.age)\n",
        f'def average_{key}({many}):\n    """Return the average {key}."""\n    if not {many}:\n        return 0\n    return sum({one}.{key} for {one} in {many}) / len({many})\n',
        f"def names({many}):\n    return [{one}.name for {one} in {many}]\n",
        f"def sort_by_{key}({many}):\n    return sorted({many}, key=lambda {one}: {one}.{key})\n",
        f"def find_{one}({many}, name):\n    for {one} in {many}:\n        if {one}.name == name:\n            return {one}\n    return None\n",
        f"def adults({many}):\n    return [{one} for {one} in {many} if {one}.age >= 18]\n",
        f"def group_by_city({many}):\n    groups = {{}}\n    for {one} in {many}:\n        groups.setdefault({one}.city, []).append({one})\n    return groups\n",
        f'def full_name({one}):\n    return f"{{{one}.first_name}} {{{one}.last_name}}"\n',
        f"def total_{key}({many}):\n    total = 0\n    for {one} in {many}:\n        total += {one}.{key}\n    return total\n",
    )


@plain
def contacts(d: Draw) -> str:
    rows = [
        f"{d.choice(NAMES)},{d.choice(SURNAMES)},{d.choice(CITIES)},{d.number(18, 80)}"
        for _ in range(d.number(2, 6))
    ]
    return "name,surname,city,age\n" + "\n".join(rows) + "\n"


def _aggregates(d: Draw, many: str, one: str, field: str) -> str:
    name = d.pick("total", "result", "best", "count", "out")
    return d.pick(
        f'def sum_{many}({many}):\n    """Return the sum of the {many}."""\n    {name} = 0\n    for {one} in {many}:\n        {name} += {one}\n    return {name}\n',
        f'def count_{many}({many}, target):\n    """Count how often target occurs."""\n    count = 0\n    for {one} in {many}:\n        if {one} == target:\n            count += 1\n    return count\n',
        f'def largest_{one}({many}):\n    """Return the largest {one}."""\n    return max({many})\n',
        f'def smallest({many}):\n    """Return the smallest {one} of the {many}."""\n    best = {many}[0]\n    for {one} in {many}:\n        if {one} < best:\n            best = {one}\n    return best\n',
        f'def mean({many}):\n    """Return the mean of a list of {many}."""\n    return sum({many}) / len({many})\n',
        f'def unique({many}):\n    """Return the {many} without duplicates, in order."""\n    seen = set()\n    result = []\n    for {one} in {many}:\n        if {one} not in seen:\n            seen.add({one})\n            result.append({one})\n    return result\n',
        f'def {field}s({many}):\n    """Return the {field} of every {one}."""\n    return [{one}.{field} for {one} in {many}]\n',
        f'def reverse_{many}({many}):\n    """Return the {many} in reverse order."""\n    return list(reversed({many}))\n',
        f'def index_by_{field}({many}):\n    """Map each {field} to its {one}."""\n    return {{{one}.{field}: {one} for {one} in {many}}}\n',
        f'def even_{many}({many}):\n    """Return the even {many}."""\n    return [{one} for {one} in {many} if {one} % 2 == 0]\n',
        f'def has_{one}({many}, {one}):\n    """Return True if {one} is in {many}."""\n    return {one} in {many}\n',
        f'def first_{one}({many}, default=None):\n    """Return the first {one} or the default."""\n    if not {many}:\n        return default\n    return {many}[0]\n',
        f'def filter_{many}({many}, limit):\n    """Return the {many} below the limit."""\n    result = []\n    for {one} in {many}:\n        if {one}.{field} < limit:\n            result.append({one})\n    return result\n',
        f'def sort_{many}({many}):\n    """Sort the {many} by {field}."""\n    return sorted({many}, key=lambda {one}: {one}.{field})\n',
    )


def _scalars(d: Draw) -> str:
    a, b = d.sample(
        ["a", "b", "x", "y", "n", "m", "left", "right", "width", "height", "value", "other"], 2
    )
    op, word = d.pick(
        ("+", "sum"),
        ("-", "difference"),
        ("*", "product"),
        ("/", "quotient"),
        ("%", "remainder"),
        ("**", "power"),
    )
    k = d.number(2, 100)
    return d.pick(
        f'def {d.pick("add", "combine", word, "compute", "calc")}({a}, {b}):\n    """Return the {word} of {a} and {b}."""\n    return {a} {op} {b}\n',
        f'def area({a}, {b}):\n    """Return the area of a rectangle."""\n    return {a} * {b}\n',
        f'def is_even({a}):\n    """Return True if {a} is even."""\n    return {a} % 2 == 0\n',
        f'def clamp({a}, low, high):\n    """Limit {a} to the range from low to high."""\n    return max(low, min({a}, high))\n',
        f'def factorial({a}):\n    """Return the factorial of {a}."""\n    if {a} <= 1:\n        return 1\n    return {a} * factorial({a} - 1)\n',
        f'def gcd({a}, {b}):\n    """Return the greatest common divisor."""\n    while {b}:\n        {a}, {b} = {b}, {a} % {b}\n    return {a}\n',
        f'def fibonacci({a}):\n    """Return the first {a} Fibonacci numbers."""\n    result = [0, 1]\n    while len(result) < {a}:\n        result.append(result[-1] + result[-2])\n    return result\n',
        f'def square({a}):\n    """Return the square of {a}."""\n    return {a} * {a}\n',
        f"def sign({a}):\n    if {a} < 0:\n        return -1\n    if {a} > 0:\n        return 1\n    return 0\n",
        f'def is_prime({a}):\n    """Return True if {a} is prime."""\n    if {a} < 2:\n        return False\n    for i in range(2, int({a} ** 0.5) + 1):\n        if {a} % i == 0:\n            return False\n    return True\n',
        f'def to_percent({a}, {b}):\n    """Return {a} as a percentage of {b}."""\n    if {b} == 0:\n        return 0.0\n    return {k} * {a} / {b}\n',
        f'def celsius({a}):\n    """Convert Fahrenheit to Celsius."""\n    return ({a} - 32) * 5 / 9\n',
    )


def _texts(d: Draw) -> str:
    t = d.pick("text", "s", "string", "word", "line", "value", "name")
    return d.pick(
        f'def reverse({t}):\n    """Return {t} reversed."""\n    return {t}[::-1]\n',
        f'def count_words({t}):\n    """Count the words in {t}."""\n    return len({t}.split())\n',
        f'def is_palindrome({t}):\n    """Return True if {t} reads the same backwards."""\n    {t} = {t}.lower()\n    return {t} == {t}[::-1]\n',
        f'def capitalize({t}):\n    """Capitalize every word."""\n    return \' \'.join(w.capitalize() for w in {t}.split())\n',
        f'def count_vowels({t}):\n    """Return the number of vowels in {t}."""\n    return sum(1 for c in {t} if c in \'aeiou\')\n',
        f'def letters({t}):\n    """Count each letter."""\n    counts = {{}}\n    for c in {t}:\n        counts[c] = counts.get(c, 0) + 1\n    return counts\n',
        f"def strip_spaces({t}):\n    return {t}.replace(' ', '')\n",
        f'def slug({t}):\n    """Return a slug of {t}."""\n    return {t}.strip().lower().replace(\' \', \'-\')\n',
        f'def truncate({t}, length={d.number(5, 99)}):\n    """Shorten {t} to length."""\n    if len({t}) <= length:\n        return {t}\n    return {t}[:length] + \'...\'\n',
        f'def join_{t}s({t}s, separator=\', \'):\n    """Join the {t}s."""\n    return separator.join({t}s)\n',
        f"def starts_with({t}, prefix):\n    return {t}.startswith(prefix)\n",
        f'def longest({t}s):\n    """Return the longest {t}."""\n    return max({t}s, key=len)\n',
    )


def _files(d: Draw) -> str:
    path = d.pick("path", "filename", "file_path", "source")
    return d.pick(
        f'def read_lines({path}):\n    """Return the lines of a file."""\n    with open({path}) as f:\n        return [line.strip() for line in f]\n',
        f'def load_json({path}):\n    """Load JSON from {path}."""\n    with open({path}) as f:\n        return json.load(f)\n',
        f'def save_json(data, {path}):\n    """Write data as JSON."""\n    with open({path}, \'w\') as f:\n        json.dump(data, f)\n',
        f"def write_text({path}, text):\n    with open({path}, 'w', encoding='utf-8') as f:\n        f.write(text)\n",
        f'def count_lines({path}):\n    """Count the lines in a file."""\n    with open({path}) as f:\n        return sum(1 for _ in f)\n',
        f"def file_exists({path}):\n    return os.path.exists({path})\n",
        f"def load_rows({path}):\n    with open({path}, newline='') as f:\n        return list(csv.DictReader(f))\n",
        f'def parse_config({path}):\n    """Parse key=value lines."""\n    config = {{}}\n    with open({path}) as f:\n        for line in f:\n            key, _, value = line.partition(\'=\')\n            config[key.strip()] = value.strip()\n    return config\n',
    )


def _structures(d: Draw, one: str, field: str) -> str:
    name = one.capitalize()
    return d.pick(
        "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n\n    def pop(self):\n        return self.items.pop()\n",
        f'class {name}:\n    """A {one} with a {field}."""\n\n    def __init__(self, {field}):\n        self.{field} = {field}\n\n    def get_{field}(self):\n        return self.{field}\n',
        f"class {name}:\n    def __init__(self):\n        self.{field}s = []\n\n    def add(self, {field}):\n        self.{field}s.append({field})\n\n    def __len__(self):\n        return len(self.{field}s)\n",
        "class Counter:\n    def __init__(self):\n        self.count = 0\n\n    def increment(self):\n        self.count += 1\n        return self.count\n",
        'def merge(a, b):\n    """Merge two dictionaries."""\n    result = dict(a)\n    result.update(b)\n    return result\n',
        'def flatten(lists):\n    """Flatten a list of lists."""\n    return [x for sub in lists for x in sub]\n',
        'def chunks(items, size):\n    """Split items into chunks of the given size."""\n    for i in range(0, len(items), size):\n        yield items[i:i + size]\n',
        'def invert(mapping):\n    """Swap keys and values."""\n    return {v: k for k, v in mapping.items()}\n',
        'def binary_search(items, target):\n    """Return the index of target or -1."""\n    low, high = 0, len(items) - 1\n    while low <= high:\n        mid = (low + high) // 2\n        if items[mid] == target:\n            return mid\n        if items[mid] < target:\n            low = mid + 1\n        else:\n            high = mid - 1\n    return -1\n',
        f'def get_{field}({one}, default=None):\n    """Return the {field} of the {one}."""\n    return getattr({one}, \'{field}\', default)\n',
        f"def print_{one}s({one}s):\n    for i, {one} in enumerate({one}s):\n        print(i, {one})\n",
        f'def validate({one}):\n    """Raise ValueError if the {one} has no {field}."""\n    if not {one}.{field}:\n        raise ValueError(\'missing {field}\')\n    return {one}\n',
    )


def _any_function(d: Draw) -> str:
    one, field = d.choice(NOUNS), d.choice(FIELDS)
    form = d.number(0, 4)
    if form == 0:
        return _aggregates(d, plural(one), one, field)
    if form == 1:
        return _structures(d, one, field)
    return (_scalars, _texts, _files)[form - 2](d)


@plain
def everyday_function(d: Draw) -> str:
    """One or two short functions as they stand in any script."""
    return "\n\n".join(_any_function(d) for _ in range(d.number(1, 2)))
