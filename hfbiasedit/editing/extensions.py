"""What an edit can be made with: saliencies and solvers by name.

A package adds its own by an entry point in the registry's group; see `examples/extension`.
"""

from __future__ import annotations

from typing import Any

from hfbiasedit.registry import Registry

# Name -> a `Saliency` (`editing.locating.method`).
SALIENCIES: Registry[Any] = Registry(
    "saliency",
    "hfbiasedit.saliencies",
    {
        "taylor": "hfbiasedit.editing.locating.measured:TAYLOR",
        "grad": "hfbiasedit.editing.locating.measured:GRAD",
        "fisher": "hfbiasedit.editing.locating.measured:FISHER",
        "contrastive": "hfbiasedit.editing.locating.measured:CONTRASTIVE",
        "random": "hfbiasedit.editing.locating.drawn:RANDOM",
    },
)
# Name -> a class without arguments that is a `Solver` (`editing.solving.solver`).
SOLVERS: Registry[Any] = Registry(
    "solver",
    "hfbiasedit.solvers",
    {
        "auto": "hfbiasedit.editing.solving.automatic:Automatic",
        "newton": "hfbiasedit.editing.solving.newton:Newton",
        "adam": "hfbiasedit.editing.solving.adam:Adam",
    },
)
