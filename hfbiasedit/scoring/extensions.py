"""What an audit can get log-probabilities from, by name.

A package adds a scorer by an entry point in the registry's group; see `examples/extension`.
"""

from __future__ import annotations

from typing import Any

from hfbiasedit.registry import Registry

ENGINE, HARNESS = "engine", "lm-eval"
# Name -> a class that makes a `Scorer` (`scoring.scorer`) of a model and records.
SCORERS: Registry[Any] = Registry(
    "backend",
    "hfbiasedit.scorers",
    {
        ENGINE: "hfbiasedit.scoring.exact:Exact",
        HARNESS: "hfbiasedit.scoring.harness.scorer:Harness",
    },
)
