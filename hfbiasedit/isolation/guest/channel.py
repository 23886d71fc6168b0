"""Calls between the two processes of a judgement, over a pair of pipes."""

from __future__ import annotations

import builtins
import json
import struct
from typing import Any, BinaryIO

from . import wire

_LARGEST = 32 << 20  # bytes of one message


class Closed(Exception):
    """The other process has gone or no longer speaks the protocol."""


class Channel:
    """One end: calls functions of the peer and serves those that it has lent out.

    After the first failure `broken` is true for good, whatever a test may catch.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._lent: list[Any] = []
        self._raisable: dict[str, Any] = {}
        self.broken = False

    def lend(self, function: Any) -> int:
        """Keep a callable and return the number under which the peer may call it."""
        self._lent.append(function)
        return len(self._lent) - 1

    def borrow(self, number: int) -> Any:
        """A callable that runs the peer's function of that number."""

        def borrowed(*arguments: Any, **named: Any) -> Any:
            return self.call(number, arguments, named)

        return borrowed

    def know_exceptions(self, namespace: dict[str, Any]) -> None:
        """Exceptions of the peer are raised as the class of the same name found here."""
        for name, value in namespace.items():
            if isinstance(value, type) and issubclass(value, Exception):
                self._raisable[name] = value

    def call(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call the peer's function; arguments that it changed in place are changed here too.

        Raises:
            Closed: the peer is gone. Otherwise the exception that the function raised.
        """
        self._send(["call", number, self._pack(arguments), self._pack(named)])
        kind, *rest = self._receive_answer()
        if kind == "raised":
            raise self._exception(str(rest[0]), str(rest[1]))
        result, after = self._unpack(rest[0]), self._unpack(rest[1])
        if isinstance(after, tuple):
            for mine, theirs in zip(arguments, after, strict=False):
                _overwrite(mine, theirs)
        return result

    def serve(self) -> None:
        """Answer calls until the peer closes the channel."""
        while True:
            self._answer(self._receive())

    def send(self, *message: Any) -> None:
        """Send one plain message outside of a call."""
        self._send(list(message))

    def receive(self) -> list[Any]:
        """The next plain message."""
        return self._receive()

    def _receive_answer(self) -> list[Any]:
        while True:
            message = self._receive()
            if message[0] in ("returned", "raised") and len(message) == 3:
                return message
            self._answer(message)

    def _answer(self, message: list[Any]) -> None:
        if message[0] != "call" or len(message) != 4:
            raise self._fail()
        try:
            arguments, named = self._unpack(message[2]), self._unpack(message[3])
            result = self._lent[message[1]](*arguments, **named)
            answer = ["returned", self._pack(result), self._pack(arguments)]
        except Closed:
            raise
        except BaseException as error:
            try:
                text = str(error)[:300]
            except BaseException:
                text = ""
            answer = ["raised", type(error).__name__, text]
        self._send(answer)

    def _exception(self, name: str, text: str) -> BaseException:
        kind = getattr(builtins, name, None) or self._raisable.get(name)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            try:
                return kind(text)
            except TypeError:  # UnicodeDecodeError and the like want more
                pass
        error: BaseException = type(name if name.isidentifier() else "Error", (Exception,), {})(
            text
        )
        return error

    def _pack(self, value: Any) -> str:
        return wire.dumps(value, self.lend).decode("ascii")

    def _unpack(self, text: Any) -> Any:
        try:
            return wire.loads(str(text).encode(), self.borrow)
        except ValueError:
            raise self._fail() from None

    def _fail(self) -> Closed:
        self.broken = True
        return Closed("the judged process ended or spoke nonsense")

    def _send(self, message: list[Any]) -> None:
        data = json.dumps(message).encode("ascii")
        try:
            self._outgoing.write(struct.pack("!I", len(data)) + data)
            self._outgoing.flush()
        except (OSError, ValueError, struct.error):
            raise self._fail() from None

    def _receive(self) -> list[Any]:
        try:
            head = self._incoming.read(4)
            (length,) = struct.unpack("!I", head)
            if length > _LARGEST:
                raise self._fail()
            message = json.loads(self._incoming.read(length))
        except (OSError, ValueError, struct.error, RecursionError):
            raise self._fail() from None
        if not isinstance(message, list) or not message:
            raise self._fail()
        return message


def _overwrite(mine: Any, theirs: Any) -> None:
    """Give a list, dict, set or bytearray the content that the peer left in its copy."""
    if isinstance(mine, list | bytearray) and isinstance(theirs, list | bytearray):
        mine[:] = theirs
    elif isinstance(mine, dict | set) and isinstance(theirs, dict | set):
        mine.clear()
        mine.update(theirs)
