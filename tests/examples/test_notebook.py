"""The notebook's cells, run one after the other in a folder of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_steps.ipynb"


def cells():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_is_stored_without_outputs():
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells())


@pytest.mark.timeout(900)
def test_its_cells_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in cells():
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    said = capsys.readouterr().out
    assert "FB-Score" in said
    assert "paired difference" in said
    document = names["document"]
    assert document["edited"]["weights"] > 0
    assert (tmp_path / "first-steps" / "patch.safetensors").is_file()
