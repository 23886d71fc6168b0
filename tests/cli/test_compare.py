import json

import pytest
from typer.testing import CliRunner

from hfbiasedit.cli.app import app
from tests.reports import fixtures


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = fixtures.documents(24)
    return fixtures.write_run(tmp_path_factory.mktemp("compare") / "run", made)


def test_a_run_is_compared_with_itself_before(run):
    done = CliRunner().invoke(app, ["compare", str(run)])
    assert done.exit_code == 0, done.output
    document = json.loads((run / "audit.after.json").read_text())
    assert f"{document['fb_score']:.2f}" in done.stdout
    assert "acme/tiny-coder + patch" in done.stdout
    table = done.stdout.partition("Professions that changed most")[2]
    assert "estimate" in table  # what they are sorted by


def test_json_is_one_document(run):
    arguments = ["compare", "--json", str(run / "audit.before.json"), str(run / "audit.after.json")]
    done = CliRunner().invoke(app, arguments)
    document = json.loads(done.stdout)
    before, after = document["reports"]
    assert document["schema"] == "hfbiasedit.comparison/1"
    assert after["difference"] == pytest.approx(after["fb_score"] - before["fb_score"])
    assert after["difference_ci95"][0] < after["difference"] < after["difference_ci95"][1]


def test_reports_of_different_prompts_are_refused(run, tmp_path):
    other = json.loads((run / "audit.after.json").read_text())
    other["prompts_digest"] = "0" * 64
    path = tmp_path / "other.json"
    path.write_text(json.dumps(other))
    done = CliRunner().invoke(app, ["compare", str(run / "audit.before.json"), str(path)])
    assert done.exit_code == 1
    assert "their prompts differ" in str(done.exception)
