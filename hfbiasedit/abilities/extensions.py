"""What `ability` can measure, by name.

A package adds a task by an entry point in the registry's group; see `examples/extension`.
"""

from __future__ import annotations

from typing import Any

from hfbiasedit.registry import Registry

# Name -> an `AbilityTask` (`abilities.ability_task`).
TASKS: Registry[Any] = Registry(
    "task",
    "hfbiasedit.ability_tasks",
    {
        "perplexity": "hfbiasedit.abilities.tasks:PERPLEXITY",
        "syntax": "hfbiasedit.abilities.tasks:SYNTAX",
        "humaneval": "hfbiasedit.abilities.tasks:HUMANEVAL",
        "generation": "hfbiasedit.abilities.tasks:GENERATION",
    },
)
