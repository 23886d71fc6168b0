import pytest
from typer.testing import CliRunner

from hfbiasedit.cli.app import app
from tests.reports import fixtures


@pytest.fixture
def run(tmp_path):
    return fixtures.write_run(tmp_path / "run", fixtures.documents(12))


def test_card_report_and_figures_are_made_again(run):
    done = CliRunner().invoke(app, ["card", str(run), "--license", "mit", "--repo-id", "me/x"])
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(run / "README.md"), str(run / "report.html")]
    card = (run / "README.md").read_text()
    assert "license: mit" in card
    assert "me/x" in card
    assert "figures/shares.png" in card
    assert (run / "figures" / "shares.png").is_file()


def test_a_card_for_the_patch(run, tmp_path):
    own = tmp_path / "own.md"
    own.write_text("# {{ what }} of {{ base }}")
    done = CliRunner().invoke(app, ["card", str(run), "--what", "patch", "--template", str(own)])
    assert done.exit_code == 0
    assert (run / "README.md").read_text() == "# patch of acme/tiny-coder\n"


def test_wrong_use_is_named(tmp_path):
    assert CliRunner().invoke(app, ["card", str(tmp_path), "--what", "all"]).exit_code == 2
    done = CliRunner().invoke(app, ["card", str(tmp_path)])
    assert done.exit_code == 1
    assert "is not a run directory" in str(done.exception)
    assert not (tmp_path / "figures").exists()


def test_a_repository_that_cannot_be_is_refused_before_anything_is_drawn(run):
    before = sorted(run.rglob("*"))
    done = CliRunner().invoke(app, ["card", str(run), "--repo-id", "a b/c"])
    assert done.exit_code == 1
    assert "a b/c" in str(done.exception)
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("licence", ["apache2", "-->"])
def test_a_licence_that_cannot_be_is_refused_before_anything_is_drawn(run, licence):
    before = sorted(run.rglob("*"))
    done = CliRunner().invoke(app, ["card", str(run), "--license", licence])
    assert done.exit_code
    assert "no licence identifier" in str(done.exception)
    assert sorted(run.rglob("*")) == before


def test_a_licence_beside_an_audit_is_still_the_wrong_option(tmp_path):
    (tmp_path / "audit.json").write_text("{}")
    done = CliRunner().invoke(app, ["card", str(tmp_path), "--license", "apache2"])
    assert "are for the card of a run" in str(done.exception)
