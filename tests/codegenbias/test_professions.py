"""The profession table, checked row by row against the published figures."""

import csv
import re
from collections import Counter
from decimal import Decimal

import pytest

from hfbiasedit.codegenbias.professions import article, load_professions
from hfbiasedit.codegenbias.references import BLS_YEARS, load_reference
from hfbiasedit.resources import data_path

ROWS = load_professions()
NAMES = [row.profession for row in ROWS]
# Words that name a gender, and endings that do.
GENDERED_WORDS = """
    man men woman women male female boy girl lady gentleman lord king queen prince princess mother
    father sister brother son daughter wife husband maid butler nun monk priest nanny midwife
    governess steward waiter actor host usherette bride groom dame sir madam heroine hero widow
    landlord mistress master masseur masseuse seamstress
""".split()  # noqa: SIM905
GENDERED_ENDINGS = re.compile(r"(man|men|woman|women|ess|ette|trix|maid|boy|girl|lady)$")
NOT_GENDERED = {"human", "fitness", "press"}


def published(year):
    """The figures as they stand in the stored table: percent, as exact decimals."""
    with open(data_path(f"bls_cps_table11_{year}.csv"), encoding="utf-8", newline="") as file:
        return {
            row["occupation"]: Decimal(row["percent_women"])
            for row in csv.DictReader(file)
            if row["percent_women"]
        }


def test_there_are_enough_and_each_is_listed_once():
    assert len(ROWS) == 315
    assert len({row.occupation for row in ROWS}) == 272
    assert not [name for name, count in Counter(NAMES).items() if count > 1]
    assert len({row.plural for row in ROWS}) == len(ROWS)
    assert not set(NAMES) & {row.plural for row in ROWS}


@pytest.mark.parametrize("year", [2021, 2022])
def test_every_share_is_the_published_figure(year):
    figures = published(year)
    shares = load_reference(f"bls-{year}").shares
    assert set(shares) == set(NAMES)
    for row in ROWS:
        assert Decimal(str(shares[row.profession])) * 100 == figures[row.occupation], row


def test_figures_copied_by_hand_from_the_published_table():
    shares = load_reference("bls-2022").shares
    for profession, percent in {
        "nurse": 87.9,
        "carpenter": 3.5,
        "software developer": 21.5,
        "lawyer": 38.5,
        "elementary school teacher": 79.7,
        "truck driver": 8.1,
        "chef": 26.9,
        "accountant": 58.8,
        "auditor": 58.8,
    }.items():
        assert shares[profession] == pytest.approx(percent / 100)
    assert set(BLS_YEARS) == {"bls-2021", "bls-2022"}


def test_shares_cover_the_whole_range():
    shares = load_reference("bls-2022").shares.values()
    tenths = Counter(min(int(share * 10), 9) for share in shares)
    assert min(shares) < 0.02
    assert max(shares) > 0.95
    assert min(tenths[tenth] for tenth in range(10)) >= 15


def test_names_are_nouns_in_lower_case_that_name_no_gender():
    for row in ROWS:
        for name in (row.profession, row.plural):
            assert re.fullmatch(r"[a-z]+( [a-z]+)*", name), name
            for word in name.split():
                assert word not in GENDERED_WORDS, name
                assert word.rstrip("s") not in GENDERED_WORDS, name
                assert not GENDERED_ENDINGS.search(word) or word in NOT_GENDERED, name


def test_plurals_follow_the_rules_of_english():
    for row in ROWS:
        head, _, last = row.profession.rpartition(" ")
        if re.search(r"[^aeiou]y$", last):
            expected = last[:-1] + "ies"
        elif re.search(r"(s|x|z|ch|sh)$", last):
            expected = last + "es"
        else:
            expected = last + "s"
        assert row.plural == f"{head} {expected}".strip(), row
    plurals = {row.profession: row.plural for row in ROWS}
    assert plurals["secretary"] == "secretaries"
    assert plurals["sports coach"] == "sports coaches"
    assert plurals["attorney"] == "attorneys"


def test_groups_hold_whole_titles():
    groups = {}
    for row in ROWS:
        groups.setdefault(row.occupation, set()).add(row.group)
    assert all(len(found) == 1 for found in groups.values())
    sizes = Counter(row.group for row in ROWS)
    assert len(sizes) == 15
    assert min(sizes.values()) >= 5


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("nurse", "a"),
        ("accountant", "an"),
        ("honest nurse", "an"),
        ("university lecturer", "a"),
        ("unreliable nurse", "an"),
        ("underwriter", "an"),
        ("one-time helper", "a"),
        ("hospital orderly", "a"),
        ("European buyer", "a"),
        ("hourly worker", "an"),
    ],
)
def test_article(phrase, expected):
    assert article(phrase) == expected


def test_no_profession_needs_an_article_that_the_rules_do_not_know():
    """Vowels that sound like consonants, and the reverse, are all looked at here."""
    tricky = [name for name in NAMES if re.match(r"(u|eu|one|ho|he|x)", name)]
    assert {name: article(name) for name in tricky} == dict.fromkeys(tricky, "a")
