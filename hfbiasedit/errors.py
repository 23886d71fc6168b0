"""The failures a user meets: one line that says what is wrong and what to do."""

from __future__ import annotations


class BiasEditError(Exception):
    """A failure with a message for the user; the command line prints it and exits 1."""

    exit_code = 1


class UsageError(BiasEditError):
    """The command was called in a way that cannot work; exits 2."""

    exit_code = 2


class GateNotMet(BiasEditError):
    """A gate such as ``--fail-above`` was not met; exits 3."""

    exit_code = 3
