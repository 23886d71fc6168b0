"""Prompts as linear functions of a move: their values now, and how they change.

One forward and one backward pass over the prompts gives every prompt's gradient in all coordinates
of an edit. Rows are kept in bfloat16, on disk where they would be too many, and what is asked of
them is inner products and combinations, a block of columns at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.console import tracked
from hfbiasedit.editing.material.batches import PromptBatch, owners
from hfbiasedit.editing.material.dual import Targets
from hfbiasedit.editing.material.forward import run, with_hidden
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.prompts import weights_of
from hfbiasedit.editing.running.activations import beside, room_on
from hfbiasedit.editing.running.recording import Passed, recorded
from hfbiasedit.editing.solving import storage
from hfbiasedit.editing.solving.coordinates import Coordinates

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

# Operations of one product between rows: Python answers an interrupt between products only.
_OPERATIONS = 1 << 35
_FEWEST, _MOST, _MOST_GPU = 1 << 10, 1 << 14, 1 << 16  # columns of one block
_STRIPS = 8  # that inner products are made in
_HOST = torch.device("cpu")


@dataclass(frozen=True)
class Sample:
    """Prompts of one linear model: all of them, and those whose gender mass is held.

    What the original says to the latter has been measured; `records` is what the batches were made
    from, `mass` the weight of keeping the gender mass.
    """

    records: Sequence[Record]
    prompts: Sequence[PromptBatch]
    held: Sequence[PromptBatch]
    mass: float

    @property
    def rows(self) -> int:
        """How many values they have together."""
        return sum(len(batch) for batch in (*self.prompts, *self.held))


@dataclass(frozen=True)
class Linear:
    """N values `targets.start + rows @ v` at a move v [D] of an edit's coordinates.

    Attributes:
        rows: [N, D], bfloat16. records, mass: [N], the prompts, and their gender mass now.
        device: where products with the rows are made; they go there a block at a time.
    """

    rows: Tensor
    targets: Targets
    records: tuple[Record, ...]
    mass: Tensor
    device: torch.device = _HOST

    def columns(self, mask: Tensor) -> Linear:
        """The model in some of the coordinates, marked by a mask [D]."""
        if bool(mask.all()):
            return self
        rows = storage.zeros(len(self.rows), int(mask.sum()), self.rows.device)
        storage.copy(self.rows, rows, mask)
        return replace(self, rows=rows)

    def gram(self, columns: Tensor | None = None) -> Tensor:
        """Inner products [N, N] of rows, float64; in some (a mask [D]) of the coordinates.

        They stay where they are made.
        """
        count = len(self.rows)
        total = torch.zeros(count, count, device=self.device)
        strip = -(-count // _STRIPS)
        blocks = -(-self.rows.shape[1] // self._width)
        for place, block in tracked(self._blocks(), "inner products", blocks):
            block = block if columns is None else block[:, columns[place].to(self.device)]
            for start in range(0, count, strip):  # what is above the diagonal is the same again
                end = min(start + strip, count)
                total[start:, start:end].addmm_(block[start:], block[start:end].T)
        found = total.double()
        for start in range(0, count, strip):  # in place: copies of it are what takes most memory
            end = min(start + strip, count)
            corner = found[start:end, start:end]
            corner.copy_(corner.tril() + corner.tril(-1).T)
            found[start:end, end:] = found[end:, start:end].T
        return found

    def pushed(self, move: Tensor) -> Tensor:
        """rows @ move [D]."""
        total = torch.zeros(len(self.rows), device=self.device)
        for place, block in self._blocks():
            total += block @ move[place].to(self.device)
        return total.cpu()

    def pulled(self, y: Tensor, columns: Tensor | None = None) -> Tensor:
        """y [N] @ rows, zero outside `columns`."""
        wanted = y.float().to(self.device)
        move = torch.cat([(wanted @ block).cpu() for _, block in self._blocks()])
        return move if columns is None else move * columns

    @property
    def finite(self) -> bool:
        """Whether all derivatives and values are."""
        return bool(torch.isfinite(self.targets.start).all()) and all(
            bool(torch.isfinite(block).all()) for _, block in self._blocks()
        )

    @property
    def _width(self) -> int:
        """How many columns are one block."""
        if self.device.type != "cpu":  # products are quick there, and reading wants long pieces
            return _MOST_GPU
        return min(max(_OPERATIONS // (2 * len(self.rows) ** 2), _FEWEST), _MOST)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, self.rows.shape[1], self._width):
            place = slice(start, start + self._width)
            yield place, storage.columns(self.rows, place).to(self.device).float()


def linearised(
    loaded: LoadedModel,
    coordinates: Coordinates,
    sample: Sample,
    trunk: Any,
) -> Linear:
    """Differentiate a sample where the model is; prompts count by their gender mass there.

    Under several processes each takes its share of the batches and all hold the same result.
    """
    room = room_on(loaded.model, loaded.device)
    place = storage.home(sample.rows, coordinates.total, loaded.device, room)
    rows = storage.zeros(sample.rows, coordinates.total, place)
    values, factual, masses = (torch.zeros(sample.rows) for _ in range(3))
    count = sum(len(batch) for batch in sample.prompts)
    batches = [*sample.prompts, *sample.held]
    starts = [sum(len(batch) for batch in batches[:n]) for n in range(len(batches))]
    columns = dict.fromkeys(coordinates.keys, (0, 0))
    at = 0
    for key in coordinates.keys:
        columns[key] = (at, at := at + coordinates.count(key))
    device = beside(loaded.device)
    apart = device != rows.device
    block: Tensor = torch.empty(0)
    owner: Tensor = torch.empty(0)

    def receive(passed: Passed) -> None:
        found = coordinates.per_sequence(passed)
        first, last = columns[passed.key]
        per_prompt = torch.zeros(len(block), last - first, device=found.device)
        per_prompt.index_add_(0, owner.to(found.device), found)
        block[:, first:last] += per_prompt.to(block)

    with recorded(loaded.model, coordinates.names, receive, columns):
        for number in tracked(processes.share(range(len(batches))), "gradients"):
            batch, start = batches[number], starts[number]
            if batch.hidden is None:
                batch = with_hidden(loaded, batch, trunk)
            here = slice(start, start + len(batch))
            block, owner = rows[here], owners(batch)
            if apart:  # one copy of all, not one of every matrix
                block = torch.zeros_like(block, device=device)
            terms = bias_terms(batch, run(loaded, batch, trunk))
            wanted = terms.logit if start < count else terms.log_mass
            wanted.sum().backward()
            if apart:
                rows[here] = block.cpu()
            shown = terms.logit if start < count else terms.mass_change
            values[here] = shown.detach().float().cpu()
            masses[here] = terms.log_mass.detach().float().exp().cpu()
            factual[here] = batch.target
            storage.let_go(rows)
    processes.add_up_([rows, values, factual, masses])
    order = [number for batch in batches for number in batch.index.tolist()]
    records = tuple(sample.records[number] for number in order)

    def weights(part: slice) -> Tensor:
        found = weights_of(records[part], masses[part].tolist())
        return torch.tensor(found, dtype=torch.float64)

    shares, held = slice(count), slice(count, None)
    targets = Targets.of(
        values[shares], factual[shares], weights(shares), values[held], sample.mass * weights(held)
    )
    return Linear(rows, targets, records, masses, device)
