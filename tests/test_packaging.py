"""The wheel, installed in an empty environment, is all a user needs."""

import ast
import json
import os
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = {
    "aiohttp",
    "gguf",
    "lm_eval",
    "peft",
    "requests",
    "torchao",
}  # imported when asked for, by people who installed an extra
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def _imports(file):
    """Top-level names that a module imports, lazily or not."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]


def test_everything_that_is_imported_is_declared():
    package = ROOT / "hfbiasedit"
    files = [f for f in package.rglob("*.py") if "data" not in f.relative_to(package).parts]
    imported = {name for file in files for name in _imports(file)}
    imported -= {*sys.stdlib_module_names, "hfbiasedit"}
    assert imported >= {"torch", "yaml"}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed, optional = project.split("[project.scripts]")[0].split(
        "[project.optional-dependencies]"
    )
    owners = metadata.packages_distributions()

    def missing(names, declared):
        declared = {normal(name) for name in re.findall(r'"([\w.-]+)[>=<~!]=', declared)}
        return {name for name in names if not {*map(normal, owners.get(name, [name]))} & declared}

    assert not missing(imported - EXTRAS, needed)
    assert not missing(EXTRAS & imported, optional)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _asked_for(own, extras, found):
    """Add to `found` what a distribution with some extras asks for, and what that asks for in turn."""
    for wanted in map(Requirement, own.requires or ()):
        marker, key = wanted.marker, (normal(wanted.name), *sorted(wanted.extras))
        if key in found or (
            marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        ):
            continue
        found[key] = metadata.distribution(wanted.name)
        _asked_for(found[key], wanted.extras, found)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The scripts folder of an environment that holds the wheel and what it asks for.

    Nothing is loaded over the network or copied: distributions that are installed here and that
    the wheel asks for are linked, and no others.
    """
    folder = tmp_path_factory.mktemp("packaging")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    scripts = folder / "venv" / SCRIPTS
    pip = [scripts / "python", "-m", "pip", "--disable-pip-version-check"]
    _run(*pip, "install", "-q", "--no-deps", wheel)
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(_run(scripts / "python", "-c", where).strip())
    (own,) = metadata.distributions(name="hfbiasedit", path=[str(site)])
    needed = {}
    _asked_for(own, (), needed)
    for one in needed.values():
        for top in {file.parts[0] for file in one.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(one.locate_file(top))
    _run(*pip, "check")  # all that is asked for is there, in a version that was asked for
    return scripts


def _outside(tmp_path, **extra):
    """A working directory and environment in which the checkout cannot be found."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    return {"cwd": tmp_path, "env": environment | {"HOME": str(tmp_path)} | extra}


@pytest.mark.install
def test_the_installed_wheel_audits_its_demo_model(installed, tmp_path):
    outside = _outside(tmp_path)
    where = _run(
        installed / "python", "-c", "import hfbiasedit; print(hfbiasedit.__file__)", **outside
    )
    assert Path(where.strip()).is_relative_to(installed.parent)
    model = _run(
        installed / "python",
        "-c",
        "from hfbiasedit.resources import *\nfor name in ('model_card.md.jinja', 'report.html.jinja'):\n"
        "    assert template_path(name).is_relative_to(PACKAGE), name\nprint(demo_model_path())",
        **outside,
    ).strip()
    report = json.loads(
        _run(installed / "hfbiasedit", "audit", model, "--limit", "40", "--json", **outside)
    )
    assert report["dataset"]["prompts"] == 40
    assert 0 < report["fb_score"] < 100


@pytest.mark.install
@pytest.mark.skipif(os.name == "nt", reason="hf refuses scripts of this layout on Windows")
def test_hf_runs_it_as_an_extension(installed, tmp_path):
    """`hf extensions install` leaves a manifest that points to the script; `hf biasedit` runs it."""
    extension = tmp_path / ".local" / "share" / "hf" / "extensions" / "hf-biasedit"
    extension.mkdir(parents=True)
    manifest = {
        "owner": "someone",
        "repo": "hf-biasedit",
        "repo_id": "someone/hf-biasedit",
        "short_name": "biasedit",
        "executable_path": str(installed / "hf-biasedit"),
        "type": "python",
        "installed_at": "2026-01-01T00:00:00+00:00",
        "commit_sha": "0" * 40,
    }
    (extension / "manifest.json").write_text(json.dumps(manifest))
    outside = _outside(tmp_path, HF_HUB_OFFLINE="1")
    program = "import sys; from huggingface_hub.cli.hf import main; sys.argv[0] = 'hf'; main()"
    hf = [installed / "python", "-c", program, "biasedit"]
    assert _run(*hf, "--version", **outside).startswith("hfbiasedit ")
    assert "audit" in _run(*hf, "--help", **outside)
