"""How templates are rendered: nothing missing, nothing empty, nothing that injects markup."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.documents import formatting, names
from hfbiasedit.errors import BiasEditError
from hfbiasedit.resources import template_path

if TYPE_CHECKING:
    from jinja2 import Environment

_FILTERS = {
    name: getattr(formatting, name)
    for name in (
        "change",
        "change_interval",
        "count",
        "duration",
        "file_size",
        "interval",
        "parameters",
        "percent",
        "relative",
        "score",
        "significant",
    )
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


def environment(folder: Path, *, html: bool) -> Environment:
    """A jinja2 environment for templates of `folder`; they may include those that ship.

    A name without a value, a `None` and a NaN are errors, never text. With `html`, every
    value is escaped; without it, values from data must go through the `md` or `code` filter.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([folder, template_path("card_parts.md.jinja").parent]),
        autoescape=html,  # noqa: S701 - Markdown has filters of its own
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(_FILTERS)
    made.filters.update(
        md=markdown,
        code=code,
        fenced=fenced,
        split_name=names.split_name,
        reference_name=names.reference_name,
        held_out=names.is_held_out,
        granularity_name=names.granularity_name,
    )
    return made


def inlined(style: str, script: str) -> dict[str, Any]:
    """What a page says of its own style and script, files that ship: `style`, `script`, and the
    hashes by which its content security policy allows these and no others."""
    from markupsafe import Markup

    found: dict[str, Any] = {}
    for kind, name in (("style", style), ("script", script)):
        text = template_path(name).read_text("utf-8")
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        found[kind] = Markup(text)  # noqa: S704 - our own file
        found[f"{kind}_hash"] = base64.b64encode(digest).decode("ascii")
    return found


def render(template: Path | None, default: str, context: dict[str, Any], *, html: bool) -> str:
    """Render `template`, or the one called `default` that ships with the program.

    A template of the user's own may `{% extends %}` or `{% include %}` files beside it.

    Raises:
        BiasEditError: the template is missing, malformed, or asks for what is not there.
    """
    from jinja2 import TemplateError

    path = template_path(default) if template is None else Path(template)
    if not path.is_file():
        raise BiasEditError(f"there is no template {path}; give a file with --template")
    try:
        return environment(path.parent, html=html).get_template(path.name).render(context)
    except (TemplateError, ValueError, TypeError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path.name}, line {line}" if line else path.name
        raise BiasEditError(f"template {place}: {error}") from error


def _finalize(value: Any) -> Any:
    """Refuse what must never be read on a page."""
    if value is None:
        raise ValueError("a value is empty (None); guard it with {% if %}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite; guard it with {% if %}")
    return value


def markdown(text: object) -> str:
    """Text from data, safe inside a Markdown paragraph or table cell."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def code(text: object) -> str:
    """Text from data as inline code that neither ends early nor splits a table cell."""
    clean = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{clean}`" if clean else ""


def fenced(text: object) -> str:
    """Text from data for the inside of a fenced code block: it cannot close the fence."""
    return str(text).strip().replace("```", "'''")
