"""Publishing CodeGenBias as a dataset repository on the Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.codegenbias.configs import CONFIGS
from hfbiasedit.codegenbias.references import DEFAULT_REFERENCE
from hfbiasedit.codegenbias.sharing.export import export_dataset

if TYPE_CHECKING:
    from hfbiasedit.publishing.result import PushResult


def push_dataset(
    repo: str,
    *,
    configs: Sequence[str] = CONFIGS,
    reference: str = DEFAULT_REFERENCE,
    prompts: Path | None = None,
    private: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
    message: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> PushResult:
    """Publish the dataset with its card in one commit; Parquet files, as `export_dataset` writes.

    Args:
        repo: `owner/name`, or a name of one's own; created if missing.
        configs: which configurations; of no account when `prompts` is given.
        reference: where the shares come from.
        prompts: publish one's own prompts instead.
        private: whether a new repository is private.
        create_pr: open a pull request instead of writing to the branch.
        revision: the branch; made if missing.
        message: title of the commit.
        overwrite: also replace files that this program did not write.
        dry_run: plan only.

    Raises:
        BiasEditError: a wrong row, or a repository that holds something else.
        huggingface_hub.errors.HfHubHTTPError: see `hub.failures.explain`.
    """
    from hfbiasedit.publishing.publication import Publisher
    from hfbiasedit.publishing.result import Target

    target = Target(
        repo,
        kind="dataset",
        what="dataset",
        revision=revision,
        create_pr=create_pr,
        private=private,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    # First, because it is quick and says at once when this cannot work.
    publisher = Publisher(target)
    with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as folder:
        out = export_dataset(
            Path(folder) / "dataset",
            configs=configs,
            reference=reference,
            prompts=prompts,
            name=publisher.repo_id,
        )
        files = {
            path.relative_to(out).as_posix(): path
            for path in sorted(out.rglob("*"))
            if path.is_file()
        }
        title = message or f"CodeGenBias ({', '.join(configs)}; shares: {Path(reference).name})"
        return publisher.publish(files, title)
