"""Numbers as people read them; used by the report, the cards and the terminal tables.

Every function takes plain numbers and returns text. `None` and NaN are refused, so that
neither can reach a page that a reader sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\u2212"
NOTHING = "\u2013"  # where there is no number to print


def _check(value: float) -> float:
    if value is None or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"cannot print {value!r} as a number")
    return value


def _signed(text: str) -> str:
    """ASCII minus to the typographic one; no negative zero."""
    if text.startswith("-"):
        return MINUS + text[1:] if any(digit in text for digit in "123456789") else text[1:]
    return text


def score(value: float, digits: int = 1) -> str:
    """A value on the 0 to 100 scale: `12.3`."""
    return _signed(f"{_check(value):.{digits}f}")


def change(value: float, digits: int = 1) -> str:
    """A difference with its sign: `+1.2`, `−3.4`, `0.0`."""
    text = f"{_check(value):+.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        return text[1:]
    return _signed(text)


def percent(value: float) -> str:
    """A share 0..1 as percent: one decimal, and two significant digits below 1%."""
    value = 100 * _check(value)
    digits = 1
    if 0 < abs(value) < 0.995:
        digits = min(12, 1 - math.floor(math.log10(abs(value))))
    return _signed(f"{value:.{digits}f}") + "%"


def relative(value: float) -> str:
    """A relative change as signed percent: `−82%`."""
    return change(100 * value, 1 if abs(value) < 0.0995 else 0) + "%"


def interval(bounds: Sequence[float], digits: int = 1, scale: float = 1.0) -> str:
    """A confidence interval: `11.0 to 13.6`; `–` for one without width, as of one profession."""
    if is_point(bounds):
        return NOTHING
    low, high = (score(scale * _check(bound), digits) for bound in bounds)
    return f"{low} to {high}"


def change_interval(bounds: Sequence[float], digits: int = 1) -> str:
    """The confidence interval of a difference: `−9.1 to −7.2`; `–` as for `interval`."""
    if is_point(bounds):
        return NOTHING
    low, high = (change(bound, digits) for bound in bounds)
    return f"{low} to {high}"


def is_point(bounds: Sequence[float]) -> bool:
    """Whether an interval has no width: resampling a single value says nothing about others."""
    low, high = bounds
    return _check(low) == _check(high)


def count(value: float) -> str:
    """An integer with thousands separated: `1,234,567`."""
    return f"{round(_check(value)):,}"


def parameters(value: float) -> str:
    """A number of weights: `6.7 B`, `124 M`, `3,200`."""
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if _check(value) >= 0.9995 * size:
            return f"{value / size:.3g} {unit}"
    return count(value)


def file_size(value: float) -> str:
    """Bytes in decimal units, as the Hub shows them: `1.2 MB`."""
    amount = float(_check(value))
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time span: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if _check(seconds) < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(whole / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def significant(value: float, digits: int = 3) -> str:
    """A number of unknown size: `0.00123`, `4.57`, `1,230`."""
    if _check(value) == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if -5 <= magnitude < 6:
        return _signed(f"{value:,.{max(0, digits - 1 - magnitude)}f}")
    return _signed(f"{value:.{digits - 1}e}")
