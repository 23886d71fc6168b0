"""What an edit has found so far, kept on disk, so that it can be taken up again.

A work directory beside the output holds a file per finished phase, complete or not there at all. A
later run with the same options, model and prompts reads what is there and works out the rest; every
phase depends on nothing but its inputs, so that the patch is that of an uninterrupted run, byte for
byte. The directory is removed with the last phase.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.console import message, warn
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import read_json, write_bytes, write_json
from hfbiasedit.locking import held

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = "hfbiasedit.work/1"
_CLAIMS, _SECONDS, _FACTS = "work.json", "seconds.json", "facts"
_NAMES = {
    "options": "the options",
    "prompts": "the prompts",
    "weights": "the model",
    "dtype": "the dtype",
    "device": "the device",
    "versions": "the version of hfbiasedit, torch or transformers",
    "material": "the prompts to learn from",
    "anchor": "the general code",
    "selection": "the selection",
    "saliency": "the saliency",
    "ends": "the tokens that end a text",
}


def work_directory(out: Path) -> Path:
    """Where an output's unfinished work is: `run.partial` for `run`."""
    whole = Path(os.path.realpath(out))
    return whole.with_name(f"{whole.name}.partial")


class Kept:
    """Tensors and facts by name; without a folder nothing is kept and everything is made.

    Attributes:
        folder: the work directory, or a folder in it.
        resumed: whether it goes on from what an earlier run left.
    """

    def __init__(
        self, folder: Path | None = None, resumed: bool = False, outer: Kept | None = None
    ) -> None:
        self.folder, self.resumed, self._outer = folder, resumed, outer
        self._begun = False
        self._started: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._claims: dict[str, Any] = {"schema": SCHEMA}
        if folder is not None and resumed:
            with contextlib.suppress(BiasEditError):
                self._seconds = read_json(folder / _SECONDS)

    @classmethod
    def beside(cls, out: Path, resume: bool) -> Kept:
        """The work directory of an output; nothing is written before `begin`.

        Raises:
            BiasEditError: there is nothing to resume.
        """
        folder = work_directory(out)
        if resume:
            if not (folder / _CLAIMS).is_file():
                raise BiasEditError(f"nothing to resume: no work in {folder}; leave out --resume")
            kept = cls(folder, resumed=True)
            kept._claims = read_json(folder / _CLAIMS)
            message(f"going on with what is kept in {folder}")
            return kept
        return cls(folder)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the work directory while the block runs.

        Raises:
            BiasEditError: another one works there.
        """
        if self.folder is None:
            yield
            return
        busy = (
            f"another process is at work in {self.folder}; wait for it, or give another output "
            "with --out"
        )
        with held(self.folder.with_name(f"{self.folder.name}.lock"), busy):
            yield

    def begin(self) -> None:
        """Write down what the work belongs to; what another run left there is put aside."""
        if self.folder is None:
            return
        if self.folder.is_dir() and not self.resumed and not self._begun:
            aside = self.folder.with_name(f"{self.folder.name}.old")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(self.folder, aside)
            message(f"the work of an interrupted run is kept in {aside} until the next one")
        self._begun = True
        self._write(lambda: write_json(self._path(_CLAIMS), self._claims))

    def claim(self, **parts: Any) -> None:
        """Say what the work belongs to; all of it must agree with what was said before.

        Raises:
            BiasEditError: the work is of other options, another model, ...
        """
        if self.folder is None:
            return
        plain = json.loads(json.dumps(parts))
        known = {name: self._claims[name] for name in plain if name in self._claims}
        differing = [_NAMES[name] for name, value in known.items() if value != plain[name]]
        if differing:
            raise BiasEditError(
                f"cannot resume from {self.folder}: {', '.join(differing)} changed since; "
                "leave out --resume"
            )
        self._claims |= plain

    def inside(self, name: str) -> Kept:
        """A place of its own in this one."""
        folder = self.folder and self.folder / name.replace("/", "-").replace(" ", "")
        return Kept(folder, self.resumed, self)

    def load(self, name: str) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors and facts that were saved under a name; None where there are none."""
        from safetensors import SafetensorError, safe_open

        if not self.resumed or self.folder is None:
            return None
        try:
            with safe_open(self._path(f"{name}.safetensors"), framework="pt") as file:
                facts = json.loads((file.metadata() or {})[_FACTS])
                return {key: file.get_tensor(key) for key in file.keys()}, facts  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):  # then it is made again
            return None

    def save(self, name: str, tensors: Mapping[str, Tensor], facts: Any = None) -> None:
        """Keep tensors and facts under a name; where that fails the edit goes on without."""
        from safetensors.torch import save

        if self.folder is None:
            return
        # Copies: the format refuses tensors that share memory.
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        data = save(plain, {_FACTS: json.dumps(facts)})
        self._write(lambda: write_bytes(self._path(f"{name}.safetensors"), data))
        self._save_seconds()

    def tensors(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What was kept under a name, or is made now and kept."""
        known = self.load(name)
        if known is not None:
            return known[0]
        made = make()
        self.save(name, made)
        return made

    def facts(self, name: str, make: Callable[[], Any]) -> Any:
        """The same for plain values."""
        known = self.load(name)
        if known is not None:
            return known[1]
        made = make()
        self.save(name, {}, made)
        return made

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the block's time to a part's, that of earlier runs included."""
        self._started[part] = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] = self.seconds(part)
            del self._started[part]

    def seconds(self, part: str) -> float:
        """Time spent on a part so far, in all runs."""
        now = time.perf_counter()
        return self._seconds.get(part, 0.0) + now - self._started.get(part, now)

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[None]:
        """Whatever interrupts the block, say where the work so far is."""
        try:
            yield
        except BaseException:
            if self.folder is not None and (self.folder / _CLAIMS).is_file():
                message(f"the work so far is kept in {self.folder}; go on with --resume")
            raise

    def remove(self) -> None:
        """The work is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _save_seconds(self) -> None:
        parts = {part: self.seconds(part) for part in {**self._seconds, **self._started}}
        if parts:
            self._write(lambda: write_json(self._path(_SECONDS), parts))
        if self._outer is not None:
            self._outer._save_seconds()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / name

    def _write(self, write: Callable[[], None]) -> None:
        if self.folder is None:
            return
        try:
            write()
        except OSError as error:
            warn(f"no work is kept in {self.folder}: {error.strerror or error}")
            self.folder = None
