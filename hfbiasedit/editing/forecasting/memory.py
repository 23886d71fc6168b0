"""Memory of an edit, and whether there is as much."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from hfbiasedit.documents.structures.forecast_document import ForecastMemory
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.forecasting.counts import Selected
from hfbiasedit.editing.forecasting.passes import Sizes
from hfbiasedit.editing.locating.energies import SLIM
from hfbiasedit.editing.locating.solutions import PROMPTS, SKETCH
from hfbiasedit.editing.material.forward import TOP
from hfbiasedit.editing.material.prompts import rows_at_once
from hfbiasedit.editing.material.windows import PLACES, WINDOW, windows_at_once
from hfbiasedit.editing.running.activations import bytes_per_token, room_on, tokens_at_once
from hfbiasedit.editing.solving.storage import IN_MEMORY, home, size_of
from hfbiasedit.models.architecture import projections
from hfbiasedit.models.loading import LoadedModel

_PROGRAM = 600 << 20  # bytes of the interpreter, its libraries and compiled matrix products
_LOGITS = 4  # copies in float32
_PASSING = 3  # of the rows of one pass: what they are made from and gathered in


def memory_of(
    loaded: LoadedModel,
    sizes: Sizes,
    config: EditConfig,
    ladder: Sequence[Selected],
    device: torch.device,
) -> ForecastMemory:
    """Bytes, at most."""
    model, items = loaded.model, projections(loaded.model)
    tensors = [*model.parameters(), *model.buffers()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    element = next(model.parameters()).element_size()
    embedding = model.get_input_embeddings().get_parameter("weight")
    vocabulary, hidden = embedding.shape
    windows = windows_at_once(model, device)
    most = max(sizes.train.tokens, windows * WINDOW)
    tokens = min(tokens_at_once(model, device, config.checkpoint), most)
    activations = round(bytes_per_token(model, device, config.checkpoint) * tokens)
    activations += _LOGITS * 4 * windows * PLACES * vocabulary  # prompts have fewer places
    captured = sizes.dev + sizes.windows
    states = captured.tokens * hidden * element + sizes.windows.places * TOP * 12
    # Random projections of all sides; sums of rows and columns need about as much.
    projected = sum(item.rows + item.experts * item.columns for item in items)
    sketches = PROMPTS * len(items) * SKETCH**2 * 2 + 4 * max(SKETCH, SLIM) * projected
    values = sizes.train.sequences + sizes.held.sequences
    single = size_of(values, ladder[0].coordinates)
    rows = 2 * single  # the widest budget's, and the chosen one's part of them
    room = room_on(model, device)
    there = home(values, ladder[0].coordinates, device, room).type != "cpu"
    disk = rows if single > IN_MEMORY and not there else 0
    gram = 3 * 8 * values**2  # inner products, a system and its factors
    kept = 0 if disk or there else rows
    apart = device.type != "cpu"
    # Rows of one pass are made on the device, in float32.
    passing = _PASSING * size_of(min(rows_at_once(tokens), values), ladder[0].coordinates)
    on_device = weights + states + max(activations + max(sketches, passing), gram)
    on_device += rows if there else 0
    # Activations are given back before systems are solved.
    locating, solving = activations + sketches, states + kept + max(activations, gram)
    host = _PROGRAM + (kept + gram if apart else weights + max(locating, solving))
    return {
        "model": weights,
        "activations": activations,
        "hidden_states": states,
        "sketches": sketches,
        "rows": rows,
        "gram": gram,
        "host": host,
        "device": on_device if apart else 0,
        "disk": disk,
    }


def lacking(memory: ForecastMemory, device: torch.device) -> str | None:
    """What there is too little of, in words; None where everything fits (or nobody can tell)."""
    found = []
    if memory["device"]:
        free = _free_device(device)
        if free is not None and memory["device"] > free:
            found.append(_short(f"memory of {device}", memory["device"], free))
    free = free_host()
    if free is not None and memory["host"] > free:
        found.append(_short("main memory", memory["host"], free))
    disk = shutil.disk_usage(tempfile.gettempdir()).free
    if memory["disk"] > disk:
        found.append(_short("disk for temporary files", memory["disk"], disk))
    return "; ".join(found) or None


def free_host() -> int | None:
    """Main memory that can be had without swapping, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) << 10


def _free_device(device: torch.device) -> int | None:
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def _short(what: str, needed: int, free: int) -> str:
    return f"{needed / 1e9:.1f} GB of {what} are needed and {free / 1e9:.1f} GB are free"
