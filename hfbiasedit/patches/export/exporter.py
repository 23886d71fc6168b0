"""`patch export`: a patch becomes a directory that peft and servers load as an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from hfbiasedit.checkpoints.dtypes import from_float64, to_float64
from hfbiasedit.checkpoints.storage import Checkpoint, has_only_bin
from hfbiasedit.documents.structures.adapter_document import Adapter, Rounded
from hfbiasedit.files import write_json
from hfbiasedit.hub.layout import ADAPTER
from hfbiasedit.models.loading import load_model
from hfbiasedit.models.options import ModelOptions
from hfbiasedit.models.outline import outline
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.outputs import output_directory, probe_directory, probe_new_directory
from hfbiasedit.patches.export.config import VLLM_RANKS, AdapterConfig, AdapterOverrides
from hfbiasedit.patches.export.formats import Made, make, served_rank
from hfbiasedit.patches.export.layers import Layer, layers_of
from hfbiasedit.patches.finding import Base, base_of, find_patch, local_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.targets import require, targets
from hfbiasedit.replacing import Kind, refuse_other
from hfbiasedit.resources import DEMO
from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack

WEIGHTS = "adapter_model.safetensors"
DOCUMENT = "adapter.json"
_ADAPTER = Kind("an adapter", {ADAPTER, WEIGHTS, DOCUMENT}.__contains__)


def export_adapter(
    patch: str | Path,
    out: str | Path,
    config: AdapterConfig | None = None,
    *,
    revision: str | None = None,
    replace_out: bool = False,
    **overrides: Unpack[AdapterOverrides],
) -> Adapter:
    """Write a patch as a peft adapter; the base model stays as it is, beside it.

    In float32 base and adapter give what the patched model gives, to rounding. In 16 bits they
    differ, since the patch rounds the sum and an adapter its parts; `rounded` in the document says
    by how much, and with `check` so do `logits`.

    Args:
        patch: a patch file, a run directory, or a Hub id.
        out: the directory to write.
        config: options; `overrides` win over its fields.
        revision: branch, tag or commit of a patch on the Hub.
        replace_out: whether an adapter that is there is replaced.

    Returns:
        The document `adapter.json`.

    Raises:
        BiasEditError: the base model is not known or not at hand, a tensor is none that an
            adapter can change, the rank is larger than allowed, or `out` holds something that may
            not be replaced; nothing is written.
    """
    config = replace(config or AdapterConfig(), **overrides)
    check_output(out, replace=replace_out)
    from_hub = local_patch(patch) is None
    path = find_patch(patch, revision)
    loaded = Patch.load(path)
    base = base_of(loaded.metadata, path, from_hub, given=config.base)
    layers = layers_of(outline(base.model, ModelOptions(revision=base.revision)).model, loaded)
    named = (loaded.metadata.get("base_model"), loaded.metadata.get("base_revision"))
    given = config.base is not None and (base.model, base.revision) != named
    if given or base.revision is None:  # else it is a commit that patch or run name
        _check_base(base, loaded)
    made = make(layers, config)
    with output_directory(Path(out), replace=replace_out) as folder:
        save_file(made.tensors, folder / WEIGHTS, metadata={"format": "pt"})
        write_json(folder / ADAPTER, _peft_config(made, layers, base))
        document = _document(loaded, base, layers, made, config)
        served = served_rank(made.rank, VLLM_RANKS)
        if config.kind == "lora" and served is not None:
            document["vllm_rank"] = served
        document["bytes"] = (folder / WEIGHTS).stat().st_size
        if config.check:
            from hfbiasedit.patches.export.checking import logit_differences

            document["logits"] = logit_differences(base, loaded, folder)
        write_json(folder / DOCUMENT, document)
    return document


def check_output(out: str | Path, *, replace: bool) -> None:
    """Refuse, before any work is done, a directory that could not be written in the end.

    Raises:
        BiasEditError: it holds something and may not be replaced, or something else than an
            adapter, or nothing can be written there.
    """
    out = Path(out)
    if replace:
        probe_directory(out)
    else:
        probe_new_directory(out, "--overwrite")
    refuse_other(out, _ADAPTER)


def _check_base(base: Base, patch: Patch) -> None:
    """Refuse a model that does not hold the old values: the adapter would add to other ones.

    Raises:
        BiasEditError: the edited weights of the base model are other ones; they are named.
    """
    path = resolve_model(base.model, base.revision).path
    if has_only_bin(path):  # nothing but a loader reads those
        patch.apply_(load_model(base.model, revision=base.revision))
        return
    checkpoint = Checkpoint.open(path)
    require(checkpoint, patch, targets(checkpoint, patch), new=False)


def _peft_config(made: Made, layers: Sequence[Layer], base: Base) -> dict[str, Any]:
    """`adapter_config.json`; a local base model is not named, its path means nothing elsewhere."""
    return {
        "base_model_name_or_path": base.public_id,
        "revision": base.revision,
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "target_modules": [layer.module for layer in layers],
        **made.config,
    }


def _document(
    patch: Patch, base: Base, layers: Sequence[Layer], made: Made, config: AdapterConfig
) -> Adapter:
    return {
        "schema": "hfbiasedit.adapter/1",
        "version": __version__,
        "kind": config.kind,
        "patch": patch.digest,
        "base_model": base.public_id or (DEMO if base.model == DEMO else None),
        "base_revision": base.revision,
        "dtype": ", ".join(sorted({layer.edit.dtype for layer in layers})),
        "rank": made.rank,
        "modules": len(layers),
        "weights": sum(layer.edit.changed for layer in layers),
        "parameters": sum(t.size for name, t in made.tensors.items() if "indices" not in name),
        "bytes": 1,
        "rounded": _rounded(layers),
    }


def _rounded(layers: Sequence[Layer]) -> Rounded:
    """How the weights come out when differences are rounded to the dtype before they are added."""
    equal = total = 0
    largest = 0.0
    for layer in layers:
        dtype = layer.edit.dtype
        for block in layer.edit.blocks():
            changed = block.old != block.new
            old, new = (to_float64(b[changed], dtype) for b in (block.old, block.new))
            delta = to_float64(from_float64(new - old, dtype), dtype)
            merged = from_float64(old + delta, dtype)
            equal += int((merged == block.new[changed]).sum())
            total += int(changed.sum())
            distance = np.abs(to_float64(merged, dtype) - new)
            largest = max(largest, float(distance.max(initial=0.0)))
    return {"equal": equal / total if total else 1.0, "largest": largest}
