"""A base model on the local Hub, and a run that edited it: a real patch, made-up scores."""

from __future__ import annotations

import copy
import functools
import hashlib
import tempfile
from pathlib import Path

import torch

from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.provenance import weights_identity
from hfbiasedit.patches.building import Change
from hfbiasedit.patches.patch import Patch
from hfbiasedit.resources import DEMO, demo_model_path
from tests.hub_server import HubServer, Repository
from tests.reports.fixtures import documents, write_run
from tests.tiny import save_checkpoint, tiny_model

BASE = "acme/tiny-coder"
EDITED = "model.layers.1.mlp.down_proj.weight"
CARD = b"---\nlicense: mit\nlanguage: en\n---\n# Tiny coder\n"


@functools.cache
def checkpoint_files() -> dict[str, bytes]:
    """The files of a sharded checkpoint of a tiny model in bfloat16."""
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder))
        files = {p.name: p.read_bytes() for p in Path(folder).iterdir()}
    assert sum(name.endswith(".safetensors") for name in files) > 2
    return {**files, "README.md": CARD, "LICENSE": b"MIT License\n"}


@functools.cache
def patch_of(base: str, commit: str | None) -> Patch:
    """Three rows of one matrix get new values."""
    model = tiny_model("llama", dtype="bfloat16")
    weight = dict(model.named_parameters())[EDITED]
    new = weight[[1, 5, 9]] * 1.5 + 0.25
    change = Change("rows", torch.tensor([1, 5, 9]), new.to(torch.bfloat16), 0)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in checkpoint_files().items():
            Path(folder, name).write_bytes(data)
        return Patch.from_changes(
            model,
            {EDITED: change},
            checkpoint=folder,
            base_model=base,
            base_revision=commit,
            granularity="row",
        )


@functools.cache
def _documents():
    return documents(12)


def make_base(hub: HubServer, repo_id: str = BASE, **options) -> Repository:
    """Put the base model on the Hub."""
    return hub.create_repo(repo_id, checkpoint_files(), **options)


def make_run(folder: Path, base: str = BASE, commit: str | None = None) -> Path:
    """A run directory that says it edited `base` at `commit`."""
    made = copy.deepcopy(_documents())
    about = {"id": base, "revision": commit}
    source = ModelSource(base, demo_model_path() if base == DEMO else Path(base), commit=commit)
    if commit is not None or source.path.is_dir():
        about["digest"] = weights_identity(source)
    for document in ("before", "after", "edit", "ability"):
        made[document]["model"] |= about
    patch = patch_of(base, commit)
    made["after"]["patch"] = made["ability"]["patch"] = patch.digest
    path = folder / "patch.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    patch.save(path)
    content = path.read_bytes()
    made["edit"]["patch"] |= {
        "digest": patch.digest,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "tensors": len(patch.tensors),
        "weights": patch.weights,
    }
    layers = [{"layer": 1, "weights": patch.weights, "share": 1.0}]
    made["edit"]["edited"] |= {"weights": patch.weights, "by_layer": layers}
    write_run(folder, made)
    path.write_bytes(content)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    (figures / "shares.png").write_bytes(b"\x89PNG\r\n" + bytes(100))
    return folder


def shard_of(files: dict[str, bytes], tensor: str = EDITED) -> str:
    """The shard that holds a tensor."""
    import json

    return json.loads(files["model.safetensors.index.json"])["weight_map"][tensor]
