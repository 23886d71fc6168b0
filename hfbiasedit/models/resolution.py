"""Where a model's files come from: a local directory, or a Hub repository pinned to a commit."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.checkpoints.marks import refuse_pending
from hfbiasedit.checkpoints.storage import is_weights
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.hub.layout import ADAPTER
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.resources import DEMO, demo_model_path

_WANTED = f"name the directory of a model, a Hub id such as org/name, or {DEMO}"


def resolve_model(
    model: str | Path,
    revision: str | None = None,
    *,
    weights: bool = True,
    gguf: str | None = None,
) -> ModelSource:
    """Find a model's files, fetching them from the Hub when `model` is no local directory.

    A directory wins over a Hub repository of the same name, as it does in transformers. `demo` is
    always the model that ships with the package; a directory of that name is `./demo`.

    Args:
        model: Hub id (`org/name`, `org/name@revision`), local directory, or `demo`.
        revision: Branch, tag or commit; Hub ids only.
        weights: whether to fetch them too; without, only what describes the model.
        gguf: the file of a repository that is fetched instead of its weights.

    Raises:
        BiasEditError: The directory is missing or holds no model, or the Hub cannot serve it.
    """
    found = local_model(model, revision)
    if found is not None:
        return found
    name, _, pinned = str(model).partition("@")

    from hfbiasedit.hub.pull import pull_model

    try:
        return pull_model(name, pinned or revision, weights=weights, gguf=gguf)
    except BiasEditError as error:
        if "/" in name:
            raise
        # What is hardly ever on the Hub under such a name is a directory that was mistyped.
        raise type(error)(f"{error} (nor is there a directory {name} here)") from error


def local_model(model: str | Path, revision: str | None = None) -> ModelSource | None:
    """The part of `resolve_model` that needs no network: None for what can be an id of the Hub.

    Raises:
        BiasEditError: The directory is missing or holds no model, or this is no id either.
    """
    text = str(model)
    if not text.strip():
        raise BiasEditError(f"the name of the model is empty; {_WANTED}")
    if text == DEMO:
        return _demo(revision)
    path = Path(text).expanduser()
    if path.is_dir():
        if revision is not None:
            raise BiasEditError(
                f"{text} is a local directory and has no revisions; leave --revision out"
            )
        _check_directory(path, text)
        return ModelSource(id=text, path=path)
    if path.exists():
        raise BiasEditError(f"{text} is a file; {_WANTED}")
    if isinstance(model, Path) or _looks_like_path(text) or text.endswith(".gguf"):
        what = "file" if text.endswith(".gguf") else "directory"
        raise BiasEditError(f"no such {what}: {text}; {_WANTED}")

    name, _, pinned = text.partition("@")
    if pinned and revision not in (None, pinned):
        raise BiasEditError(f"{text} names one revision and --revision {revision} another")

    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(name)
    return None


def _demo(revision: str | None) -> ModelSource:
    if revision is not None:
        raise UsageError(f"{DEMO} ships with the package and has no revisions; leave it out")
    _check_directory(demo_model_path(), DEMO)
    return ModelSource(id=DEMO, path=demo_model_path())


def _looks_like_path(text: str) -> bool:
    return (
        text.startswith((".", "/", "~"))
        or text.endswith("/")
        or "\\" in text
        or text.count("/") > 1
    )


def _check_directory(path: Path, name: str) -> None:
    """Refuse a directory that holds no model, naming what it is where that can be told."""
    refuse_pending(path)  # a killed change in place: some weights are new, some old
    if (path / ADAPTER).is_file():
        if (path / "config.json").is_file() and any(map(is_weights, _others(path))):
            raise BiasEditError(
                f"{name} holds a model and an adapter ({ADAPTER}), which is ambiguous; move the "
                "adapter to another directory, or merge it into the model first"
            )
        raise BiasEditError(
            f"{name} holds an adapter, not a model; merge it into its base model first"
        )
    if (path / "config.json").is_file():
        return
    if (path / "model_index.json").is_file():
        raise BiasEditError(f"{name} holds a diffusion pipeline, not a language model")
    raise BiasEditError(f"{name} is no model directory: it has no config.json")


def _others(path: Path) -> list[str]:
    """Names of files that are not an adapter's."""
    return [file.name for file in path.iterdir() if not file.name.startswith("adapter_")]
