"""Tables at 60 to 80 columns: nothing that matters is cut."""

import io

import pytest
from rich.console import Console, Group
from rich.table import Table

from hfbiasedit.stacking import fitting

MEASURES = ("FB-Score", "difference", "relative", "lean", "amplification", "gender mass")
VALUES = ("25.31\n[23.01, 27.99]", "-12.40\n[-14.00, -10.02]", "-33 %", "-18.2", "0.41", "63.1 %")


def shown(table, columns):
    stream = io.StringIO()
    console = Console(file=stream, width=columns, highlight=False)
    console.print(fitting(table, console))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= columns
    return text


def scores(name="acme/a-code-model-with-a-long-name + patch"):
    table = Table(title="FB-Score")
    table.add_column("model", overflow="fold")
    for measure in MEASURES:
        table.add_column(measure, justify="right", no_wrap=True)
    table.add_row(name, *VALUES)
    table.add_row("other", "1", "", "", "", "", "")
    return table


@pytest.mark.parametrize("columns", [60, 70, 80])
def test_a_table_without_room_is_written_below_each_other(columns):
    text = shown(scores(), columns)
    assert "acme/a-code-model-with-a-long-name + patch" in text
    for measure, value in zip(MEASURES, VALUES, strict=True):
        assert f"{measure}: {' '.join(value.split())}" in " ".join(text.split())
    assert text.count("difference") == 1  # what is empty is left out
    assert "\u2026" not in text


def test_so_are_the_tables_of_a_group():
    text = shown(Group(scores(), "between", scores()), 60)
    assert text.count("amplification: 0.41") == 2
    assert "between" in text


def test_a_table_with_room_stays_a_table():
    text = shown(scores(), 120)
    assert "FB-Score: " not in text
    assert "\u2502" in text or "|" in text


def test_text_is_folded_before_a_table_is_given_up():
    table = Table("key", "value", box=None)
    table.add_row("file", "/a/very/long/path/" * 6)
    text = shown(table, 60)
    assert "key" in text
    assert text.replace("\n", "").replace(" ", "").count("/a/very/long/path/") == 6
