"""Help pages in sections: a command's own options, then those of prompts and of the model."""

from __future__ import annotations

from typing import Any

import typer.core


class SectionedCommand(typer.core.TyperCommand):
    """A command whose options stand under the panels of their fields, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the options without a panel, and the panels in order."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            title = "Arguments" if parameter.param_type_name == "argument" else panel
            sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
