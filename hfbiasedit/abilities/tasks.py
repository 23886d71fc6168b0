"""The tasks that come with the package; what they need is imported when they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfbiasedit import console
from hfbiasedit.abilities import summary
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from rich.table import Table

    from hfbiasedit.abilities.config import AbilityConfig
    from hfbiasedit.documents.structures.ability_document import (
        HumanEval,
        Isolation,
        Perplexity,
        Syntax,
        Written,
    )
    from hfbiasedit.isolation.judge import Judgement
    from hfbiasedit.patches.patch import Patch
    from hfbiasedit.texts.anchor import Anchor
    from hfbiasedit.texts.corpus import Corpus


class PerplexityTask:
    """How well a model foretells code that no edit has seen."""

    runs_code = takes_samples = False

    def prepare(self, config: AbilityConfig, patch: Patch | None) -> Corpus:
        """The text, once it is known to be fresh.

        Raises:
            BiasEditError: it cannot be read, or an edit was anchored on it.
        """
        from hfbiasedit.texts.corpus import refuse_overlap

        corpus = _corpus(config)
        for anchor in _anchors(config, patch):
            refuse_overlap(corpus, anchor.name, anchor.texts)
        return corpus

    def measure(
        self, loaded: Any, config: AbilityConfig, patch: Patch | None, prepared: Corpus
    ) -> Perplexity:
        """See `perplexity`."""
        from hfbiasedit.abilities.perplexity import measure_perplexity

        return measure_perplexity(loaded, prepared, config, patch)

    def table(self, part: Mapping[str, Any]) -> Table:
        """Perplexity per token and byte, and the divergence."""
        return summary.perplexity(part)


class SyntaxTask:
    """How often what a model writes parses."""

    runs_code = takes_samples = False

    def prepare(self, config: AbilityConfig, patch: Patch | None) -> Any:
        """The stubs of functions."""
        from hfbiasedit.abilities.syntax import load_stubs

        return load_stubs(config.stubs, config.limit)

    def measure(
        self, loaded: Any, config: AbilityConfig, patch: Patch | None, prepared: Any
    ) -> Syntax:
        """See `syntax`."""
        from hfbiasedit.abilities.syntax import measure_syntax

        return measure_syntax(loaded, prepared, config, patch)

    def table(self, part: Mapping[str, Any]) -> Table:
        """Rates, greedy and sampled."""
        return summary.syntax(part)


class HumanEvalTask:
    """How many problems a model solves."""

    runs_code = takes_samples = True

    def prepare(self, config: AbilityConfig, patch: Patch | None) -> Any:
        """The problems, and ready-made samples where there are any."""
        from hfbiasedit.abilities.problems.reading import load_problems, load_samples

        problems = load_problems(config.problems, config.limit)
        samples = load_samples(config.samples, problems) if config.samples else None
        return problems, samples

    def measure(
        self, loaded: Any, config: AbilityConfig, patch: Patch | None, prepared: Any
    ) -> HumanEval:
        """See `humaneval`."""
        from hfbiasedit.abilities.problems.humaneval import measure_humaneval

        problems, samples = prepared
        result, judgements = measure_humaneval(
            problems, config, loaded=loaded, samples=samples, patch=patch
        )
        result["isolation"] = _isolation(judgements)
        return result

    def table(self, part: Mapping[str, Any]) -> Table:
        """pass@k and verdicts."""
        return summary.humaneval(part)


class GenerationTask:
    """The second look: the genders that a model writes of itself."""

    runs_code = takes_samples = False

    def prepare(self, config: AbilityConfig, patch: Patch | None) -> None:
        """Nothing: its prompts ship with the package."""

    def measure(
        self, loaded: Any, config: AbilityConfig, patch: Patch | None, prepared: None
    ) -> Written:
        """See `secondlook`."""
        from hfbiasedit.abilities.secondlook import measure_behaviour

        return measure_behaviour(loaded, config, patch)

    def table(self, part: Mapping[str, Any]) -> Table:
        """What was written beside what scores say."""
        return summary.generation(part)


def _corpus(config: AbilityConfig) -> Corpus:
    from hfbiasedit.texts.corpus import load_corpus

    return load_corpus(
        config.text,
        limit=config.limit,
        dataset=config.dataset,
        dataset_config=config.dataset_config,
        split=config.split,
        field=config.field,
        documents=config.documents,
    )


def _anchors(config: AbilityConfig, patch: Patch | None) -> list[Anchor]:
    """Code that edits were told to keep: the default, what is named, what the patch names."""
    from hfbiasedit.texts.anchor import load_anchor

    if config.anchor is not None:
        return [load_anchor(source) for source in (None, config.anchor)]
    made = patch.metadata.get("edit") if patch is not None else None
    options = made.get("options") if isinstance(made, dict) else None
    used = options.get("anchor") if isinstance(options, dict) else None
    if used is not None:
        try:
            return [load_anchor(None), load_anchor(str(used))]
        except BiasEditError as error:
            raise BiasEditError(
                f"the patch was anchored on {used}, which cannot be read here, so that nobody can "
                "tell whether the perplexity text is fresh; name a copy of it with --anchor"
            ) from error
    return [load_anchor(None)]


def _isolation(judgements: list[Judgement]) -> Isolation:
    """Which guards were in force everywhere; what the platform lacks is said once."""
    known = [judgement for judgement in judgements if judgement.guards or judgement.missing]
    active = sorted(set.intersection(*(set(j.guards) for j in known))) if known else []
    missing = sorted({name for judgement in known for name in judgement.missing})
    if known and not {"landlock", "seccomp"} <= set(active):
        console.warn(
            "this system lacks the kernel's guards (Linux with Landlock and seccomp): files and "
            "network are only kept from well-behaved programs; judge in a container or on Linux"
        )
    if missing:
        console.warn(f"this system does not limit: {', '.join(missing)}")
    return {"guards": active, "missing": missing}


PERPLEXITY = PerplexityTask()
SYNTAX = SyntaxTask()
HUMANEVAL = HumanEvalTask()
GENERATION = GenerationTask()
