"""hfbiasedit: measure and edit the gender bias of code language models on the Hugging Face Hub."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from hfbiasedit.abilities.measurement import ability
    from hfbiasedit.audits.auditor import audit
    from hfbiasedit.audits.callback import FBScoreCallback
    from hfbiasedit.audits.sharing.model_page import push_audit
    from hfbiasedit.demonstration import demo
    from hfbiasedit.documents.comparison import compare
    from hfbiasedit.editing.editor import edit
    from hfbiasedit.editing.forecasting.forecaster import forecast
    from hfbiasedit.editing.locating.locator import locate
    from hfbiasedit.editing.sweep import sweep
    from hfbiasedit.leaderboards.writing import leaderboard
    from hfbiasedit.patches.export.exporter import export_adapter
    from hfbiasedit.patches.patch import Patch
    from hfbiasedit.publishing.patched import load_patched
    from hfbiasedit.publishing.push import push

# Public name -> module. Imported on first use, so that `import hfbiasedit` stays light.
_HOMES = {
    "ability": "hfbiasedit.abilities.measurement",
    "audit": "hfbiasedit.audits.auditor",
    "compare": "hfbiasedit.documents.comparison",
    "demo": "hfbiasedit.demonstration",
    "edit": "hfbiasedit.editing.editor",
    "FBScoreCallback": "hfbiasedit.audits.callback",
    "export_adapter": "hfbiasedit.patches.export.exporter",
    "forecast": "hfbiasedit.editing.forecasting.forecaster",
    "leaderboard": "hfbiasedit.leaderboards.writing",
    "load_patched": "hfbiasedit.publishing.patched",
    "locate": "hfbiasedit.editing.locating.locator",
    "Patch": "hfbiasedit.patches.patch",
    "push": "hfbiasedit.publishing.push",
    "push_audit": "hfbiasedit.audits.sharing.model_page",
    "sweep": "hfbiasedit.editing.sweep",
}

__all__ = [
    "FBScoreCallback",
    "Patch",
    "__version__",
    "ability",
    "audit",
    "compare",
    "demo",
    "edit",
    "export_adapter",
    "forecast",
    "leaderboard",
    "load_patched",
    "locate",
    "push",
    "push_audit",
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
