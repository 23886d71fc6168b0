"""hfbiasedit: measure and edit the gender bias of code language models on the Hugging Face Hub."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from hfbiasedit.abilities.measurement import ability
    from hfbiasedit.audits.auditor import audit
    from hfbiasedit.audits.comparison import compare
    from hfbiasedit.demonstration import demo
    from hfbiasedit.editing.editor import edit
    from hfbiasedit.editing.locator import locate
    from hfbiasedit.editing.tradeoff import sweep
    from hfbiasedit.hub.patched import load_patched
    from hfbiasedit.hub.push import push
    from hfbiasedit.patches.patch import Patch

# Public name -> module. Imported on first use, so that `import hfbiasedit` stays light.
_HOMES = {
    "ability": "hfbiasedit.abilities.measurement",
    "audit": "hfbiasedit.audits.auditor",
    "compare": "hfbiasedit.audits.comparison",
    "demo": "hfbiasedit.demonstration",
    "edit": "hfbiasedit.editing.editor",
    "load_patched": "hfbiasedit.hub.patched",
    "locate": "hfbiasedit.editing.locator",
    "Patch": "hfbiasedit.patches.patch",
    "push": "hfbiasedit.hub.push",
    "sweep": "hfbiasedit.editing.tradeoff",
}

__all__ = [
    "Patch",
    "__version__",
    "ability",
    "audit",
    "compare",
    "demo",
    "edit",
    "load_patched",
    "locate",
    "push",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hfbiasedit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
