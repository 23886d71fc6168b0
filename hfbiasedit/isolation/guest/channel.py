"""Calls between the two processes of a judgement, over a pair of pipes."""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

from .objects import overwrite
from .wire import CannotCross, Wire

_LARGEST = 32 << 20  # bytes of one message


class Closed(Exception):
    """The other process has gone or no longer speaks the protocol."""


class Channel:
    """One end: calls functions of the peer and serves those that it has lent out.

    Attributes:
        broken: the peer has gone or spoke nonsense; true for good, whatever a test may catch.
        cannot: why a value could not be passed on, for good; no verdict can be given then.
        raised: the last exception that came from the peer.
        calls: how often a function of the peer was called.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._lent: list[Any] = []
        self._wire = Wire(self.lend, self.borrow)
        self.broken = False
        self.cannot: str | None = None
        self.raised: BaseException | None = None
        self.calls = 0

    def lend(self, function: Any) -> int:
        """Keep a callable and return the number under which the peer may call it."""
        self._lent.append(function)
        return len(self._lent) - 1

    def borrow(self, number: int) -> Any:
        """A callable that runs the peer's function of that number."""

        def borrowed(*arguments: Any, **named: Any) -> Any:
            return self.call(number, arguments, named)

        return borrowed

    def share(self, classes: dict[str, type]) -> None:
        """Let objects of these classes cross; the peer has classes of the same names."""
        self._wire.classes = classes

    def call(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call the peer's function; arguments that it changed in place are changed here too.

        Raises:
            Closed: the peer is gone.
            CannotCross: an argument or the result is of a type that is not passed on.
            BaseException: what the function raised.
        """
        self.calls += 1
        self._send(["call", number, self._pack((arguments, named))])
        kind, text = self._receive_answer()
        if kind == "cannot":
            raise self._cannot(str(text))
        if kind == "raised":
            self.raised = self._unpack(text)
            raise self.raised if isinstance(self.raised, BaseException) else self._fail()
        try:
            result, positional, others = self._unpack(text)
            pairs = [*zip(arguments, positional, strict=True)]
            pairs += [(named[name], theirs) for name, theirs in others.items()]
        except (TypeError, ValueError, KeyError, AttributeError):
            raise self._fail() from None
        for mine, theirs in pairs:
            overwrite(mine, theirs, self._wire.classes.values())
            if result is theirs:
                result = mine
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
            if message[0] in ("returned", "raised", "cannot") and len(message) == 2:
                return message
            self._answer(message)

    def _answer(self, message: list[Any]) -> None:
        if message[0] != "call" or len(message) != 3:
            raise self._fail()
        try:
            arguments, named = self._unpack(message[2])
            result = self._lent[message[1]](*arguments, **named)
            answer: list[Any] = ["returned", self._pack((result, arguments, named))]
        except Closed:
            raise
        except BaseException as error:
            # A program that catches what it could not send has not been judged either.
            if self.cannot is None:
                answer = ["raised", self._pack(error)]
            else:
                answer = ["cannot", self.cannot]
        self._send(answer)

    def _pack(self, value: Any) -> str:
        try:
            return self._wire.dumps(value)
        except CannotCross as error:
            raise self._cannot(str(error)) from None

    def _unpack(self, text: Any) -> Any:
        try:
            return self._wire.loads(str(text))
        except ValueError:
            raise self._fail() from None

    def _cannot(self, text: str) -> CannotCross:
        self.cannot = self.cannot or text
        return CannotCross(text)

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
