"""The failures a user meets: one line that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class BiasEditError(Exception):
    """A failure with a message for the user; the command line prints it and exits 1."""

    exit_code = 1


class UsageError(BiasEditError):
    """The command was called in a way that cannot work; exits 2."""

    exit_code = 2


class GateNotMet(BiasEditError):
    """A gate such as ``--fail-above`` was not met; exits 3."""

    exit_code = 3


def listed(names: Sequence[str], most: int) -> str:
    """Names for a message, `a, b and 7 more`: the first `most` of them."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def unknown(kind: str, name: object, known: Sequence[str]) -> UsageError:
    """The refusal of a name: what it may have meant, and what there is."""
    import difflib

    near = difflib.get_close_matches(str(name), known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}; {guess}use one of {', '.join(known)}")


def first_line(error: BaseException) -> str:
    """The first line of a library's message, which often runs over many.

    Where that only announces what follows, up to a colon, what follows is said too.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if not lines:
        return type(error).__name__
    return " ".join(filter(None, lines)) if lines[0].endswith(":") else lines[0]
