"""The example of an extension, as an installed package has it: found by name, and used."""

import configparser
import json
import sys
from pathlib import Path

import pytest
import torch

from hfbiasedit.editing.config import EditConfig, LocateConfig
from hfbiasedit.editing.editor import edit
from hfbiasedit.editing.extensions import SALIENCIES
from hfbiasedit.editing.locating.locator import locate_with
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_loss
from hfbiasedit.editing.material.prompts import bias_probes
from hfbiasedit.errors import BiasEditError, UsageError
from tests.editing import worlds
from tests.installing import install
from tests.tiny import save_checkpoint

EXAMPLE = Path(__file__).parents[2] / "examples" / "extension"


@pytest.fixture
def installed(tmp_path_factory, monkeypatch):
    """The entry points that the example's `pyproject.toml` declares."""
    project = configparser.ConfigParser()  # the sections in question read the same as in TOML
    text = (EXAMPLE / "pyproject.toml").read_text()
    project.read_string(text[text.index("[project.entry-points") : text.index("[tool.hatch")])
    points = dict(project['project.entry-points."hfbiasedit.saliencies"'])
    points = {name: json.loads(value) for name, value in points.items()}
    put(tmp_path_factory.mktemp("site"), points, monkeypatch)


def put(site, points, monkeypatch):
    """The package's metadata, and the example's module beside it."""
    install(site, "hfbiasedit.saliencies", points, monkeypatch)
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.delitem(sys.modules, "removable", raising=False)


def test_it_is_unknown_until_it_is_installed():
    with pytest.raises(UsageError, match="unknown saliency 'removable'"):
        EditConfig(saliency="removable")


def test_it_ranks_by_its_own_measure(installed):
    assert SALIENCIES.names()[-1] == "removable"
    model = worlds.loaded("llama")
    prompts = worlds.prompts(model)
    config = LocateConfig(saliency="removable", probe_prompts=4, blocks="all")
    found = locate_with(model, prompts, config).ranking
    groups = bias_probes(prompts, 4, 0)
    model.model.requires_grad_(True)
    expected = {item.name: torch.zeros(item.rows) for item in found.projections}
    for group in groups:
        model.model.zero_grad()
        batch = prompts.batch(group)
        bias_loss(batch, run(model, batch), 0.0).backward()
        for name, total in expected.items():
            weight = model.model.get_parameter(name)
            total += (weight.grad * weight.detach()).relu().sum(1) / len(groups)
    for name, rows in expected.items():
        assert torch.allclose(found.scores[name].rows.float(), rows, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("level", ["row", "neuron"])
def test_it_makes_an_edit(installed, level, tmp_path):
    model = save_checkpoint(tmp_path / "tiny", "llama")
    prompts = tmp_path / "prompts.jsonl"
    rows = []
    for split in ("edit", "dev", "test_modifiers"):
        for record in worlds.records(split):
            row = record.to_dict() | {"id": f"{split}/{record.id}"}
            rows.append(row | {"prompt": f"# {split}\n{record.prompt}"})
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = dict(steps=12, max_kl=0.5, batch_size=8, solver="adam", budget="10%")
    config = EditConfig(granularity=level, saliency="removable", prompts=prompts, **options)
    document = edit(model, config, out=tmp_path / "run").edit
    assert document["saliency"] == "removable"
    split = document["splits"]["test_modifiers"]
    assert split["fb_after"] < split["fb_before"]


def test_what_is_no_saliency_is_refused(tmp_path, monkeypatch):
    put(tmp_path, {"broken": "removable:removable"}, monkeypatch)
    model = worlds.loaded("llama")
    with pytest.raises(BiasEditError, match="'broken' is not an object with a method judge"):
        locate_with(model, worlds.prompts(model), LocateConfig(saliency="broken"))
