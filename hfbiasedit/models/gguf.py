"""Weights from a GGUF file: where it is, and what it holds.

transformers reads the file and turns its blocks into plain weights. Configuration and tokenizer are
those of the model beside it where there are any, else those that the file holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hfbiasedit.documents.structures.shared import Gguf
from hfbiasedit.errors import BiasEditError, UsageError, listed
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.options import MeasuringOptions, ModelOptions
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.resources import DEMO

SUFFIX = ".gguf"
_INSTALL = "GGUF files need gguf and accelerate; pip install 'hfbiasedit[gguf]'"
_PLAIN = ("F64", "F32", "F16", "BF16")  # types that are not quantised


def resolve_source(model: str | Path, options: ModelOptions) -> ModelSource:
    """The files of MODEL, with a GGUF file in place of its weights where one is asked for.

    Args:
        model: Hub id, directory, `demo`, or a GGUF file on this machine.
        options: `gguf` names a file on this machine, else one of the directory or the repository.

    Raises:
        BiasEditError: there is no such file, it is no GGUF file, or what reads it is missing.
    """
    named = options.gguf if isinstance(options, MeasuringOptions) else None
    path = Path(model).expanduser()
    if path.suffix == SUFFIX and path.is_file():
        if named is not None or options.revision is not None:
            raise UsageError(f"{model} is a GGUF file; leave --gguf and --revision out")
        check_reader()
        return _checked(ModelSource(id=str(model), path=path.absolute().parent, gguf=path))
    if named is None:
        return resolve_model(model, options.revision)
    check_reader()
    file = Path(named).expanduser()
    if file.is_file():
        source = resolve_model(model, options.revision, weights=False)
        # The weights are those of no repository, so that the file gives the name.
        return _checked(replace(source, id=str(named), commit=None, gguf=file))
    return _checked(_inside(model, options, str(named)))


def _inside(model: str | Path, options: ModelOptions, name: str) -> ModelSource:
    """A file of the model's directory or repository."""
    source = ModelSource(id=str(model), path=Path(model).expanduser())
    if str(model) == DEMO or not source.path.is_dir():
        source = resolve_model(model, options.revision, gguf=name)
    elif options.revision is not None:
        raise UsageError(f"{model} is a local directory and has no revisions; leave --revision out")
    if not (source.path / name).is_file():
        present = sorted(path.name for path in source.path.glob(f"*{SUFFIX}"))
        there = f"it has {listed(present, 8)}" if present else "it has none"
        raise BiasEditError(f"{model} has no GGUF file {name}; {there}")
    return replace(source, gguf=source.path / name)


def check_reader() -> None:
    """Refuse, before anything is fetched, what could not be read.

    Raises:
        BiasEditError: a package is missing.
    """
    from importlib.util import find_spec

    if find_spec("gguf") is None or find_spec("accelerate") is None:
        raise BiasEditError(_INSTALL)


def loading(file: Path) -> dict[str, Any]:
    """What `from_pretrained` is told: plain weights, also where kernels take the blocks."""
    import transformers

    made = getattr(transformers, "GgufConfig", None)  # not in every version 5
    plain = {} if made is None else {"quantization_config": made(dequantize=True)}
    return {"gguf_file": file.name, **plain}


@contextmanager
def silent() -> Iterator[None]:
    """Keep the bar of transformers' reader off the terminal."""
    from transformers import modeling_gguf_pytorch_utils as reader

    bar = getattr(reader, "tqdm", None)
    if bar is None:
        yield
        return
    reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar


def contents(source: ModelSource, tokenizer_inside: bool) -> Gguf:
    """What a report says of the file.

    Args:
        source: with a GGUF file. tokenizer_inside: whether its tokenizer was taken.

    Raises:
        BiasEditError: it is no GGUF file, or is damaged.
    """
    from gguf import GGUFReader

    assert source.gguf is not None
    try:
        tensors = GGUFReader(source.gguf).tensors
    except (ValueError, OSError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise BiasEditError(
            f"{source.gguf} is no GGUF file, or is damaged; fetch it again"
        ) from error
    weights: Counter[str] = Counter()
    for tensor in tensors:
        weights[str(tensor.tensor_type.name)] += int(tensor.n_elements)
    return {
        "file": source.gguf.name,
        "weights": dict(weights.most_common()),
        "tokenizer": "the GGUF file" if tokenizer_inside else "the model's files",
    }


def quantization(found: Gguf) -> str | None:
    """The type of most of the quantised weights, such as `gguf Q4_K`; None where none is."""
    kinds = [name for name in found["weights"] if name not in _PLAIN]
    return f"gguf {kinds[0]}" if kinds else None


def _checked(source: ModelSource) -> ModelSource:
    contents(source, True)
    return source
