from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from hfbiasedit.documents import names
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.errors import BiasEditError
from hfbiasedit.figures.plots import NoSuchFigure
from hfbiasedit.figures.run import FIGURES, render_figures, write_figures
from tests.reports import fixtures


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = fixtures.documents(60)
    made["before"]["professions"][0]["profession"] = "$x$ & <b>"
    made["after"]["professions"][0]["profession"] = "$x$ & <b>"
    return fixtures.write_run(tmp_path_factory.mktemp("figures") / "run", made)


@pytest.fixture(scope="module")
def written(run):
    return write_figures(run)


def test_every_figure_is_written_as_png_and_svg(run, written):
    wanted = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {path.name for path in written} == wanted
    assert {path.name for path in (run / "figures").iterdir()} == wanted
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.fromstring(path.read_bytes()).tag.endswith("svg")


def test_the_same_documents_give_the_same_bytes(run, written):
    again = render_figures(open_documents(run))
    for name, svg in again.items():
        assert (run / "figures" / f"{name}.svg").read_bytes() == svg
    assert b"<dc:date>" not in again["shares"]


def test_every_figure_has_a_title_and_a_caption():
    assert set(names.FIGURES) == set(FIGURES)


def test_one_audit_has_no_before_and_after(tmp_path):
    audit = fixtures.documents(20)["before"]
    directory = fixtures.write_audit(tmp_path / "audit", audit)
    drawn = {path.stem for path in write_figures(directory)}
    assert drawn == {"shares", "groups", "templates", "histogram", "heatmap"}


def test_figures_of_earlier_numbers_go_and_those_of_others_stay(tmp_path):
    audit = fixtures.documents(20)["before"]
    directory = fixtures.write_audit(tmp_path / "audit", audit)
    write_figures(directory)
    (directory / "figures" / "saliency.png").write_bytes(b"of locate")
    fixtures.write_audit(directory, audit | {"by_template_group": []})
    write_figures(directory)
    left = {path.name for path in (directory / "figures").iterdir()}
    assert left & {"heatmap.png", "heatmap.svg", "saliency.png"} == {"saliency.png"}
    assert "groups.png" in left


def test_figures_without_numbers_are_left_out(tmp_path):
    audit = fixtures.documents(20)["before"]
    audit.update(by_template_group=[], by_group=[], by_template=[])
    assert list(render_figures(Documents(tmp_path, audit))) == ["shares", "histogram"]


def test_an_edit_that_tried_no_budgets_has_no_curve(tmp_path):
    made = fixtures.documents(12)
    del made["edit"]["curve"]
    documents = open_documents(fixtures.write_run(tmp_path / "run", made))
    with pytest.raises(NoSuchFigure, match="several budgets"):
        FIGURES["budgets"](documents)


def test_a_directory_without_documents_is_refused(tmp_path):
    with pytest.raises(BiasEditError, match="neither a run nor an audit"):
        write_figures(tmp_path)


def test_drawing_leaves_no_global_state(tmp_path):
    """pyplot stays unloaded and the caller's settings stay as they were."""
    code = (
        "import sys, matplotlib; matplotlib.rcParams['font.size'] = 17\n"
        "from pathlib import Path\n"
        "from tests.reports import fixtures\n"
        "from hfbiasedit.figures.run import render_figures\n"
        "from hfbiasedit.documents.reading import Documents\n"
        "audit = fixtures.documents(12)['before']\n"
        "render_figures(Documents(Path('.'), audit))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams['font.size'] == 17\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
