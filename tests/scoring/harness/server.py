"""A small server of completions over HTTP, answering from a real model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import torch


class Completions(ThreadingHTTPServer):
    """`/v1/completions` with `echo` and `logprobs`, for prompts of tokens or of text.

    Attributes:
        answered: requests that got an answer.
        fail_after: how many of them before `fault` sets in.
        fault: "status 503", "slow" (no answer at all), "no logprobs", "no echo", "text", or "".
        closed: set when the server ends, for handlers that wait.
    """

    daemon_threads = True

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.closed = Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.tokenizer = model, tokenizer
        self.answered, self.fail_after, self.fault = 0, 0, ""
        self.headers_seen: list[str] = []

    def server_close(self) -> None:
        self.closed.set()
        super().server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/completions"

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        prompts = request["prompt"]
        if isinstance(prompts, str) or isinstance(prompts[0], int):
            prompts = [prompts]
        rows = [self.tokenizer(p)["input_ids"] if isinstance(p, str) else p for p in prompts]
        choices = [{"index": n, **self.choice(row)} for n, row in enumerate(rows)]
        return {"choices": choices[::-1]}  # order is the client's affair

    @torch.no_grad()
    def choice(self, ids: list[int]) -> dict[str, Any]:
        logs = self.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        written = int(logs[-1].argmax())
        whole = [*ids, written]
        values = [None] + [float(logs[n, token]) for n, token in enumerate(whole[1:])]
        tops = [None] + [{"t": float(row.max())} for row in logs]
        tokens = [self.tokenizer.decode([token]) for token in whole]
        offsets = [len(self.tokenizer.decode(whole[:n])) for n in range(len(whole))]
        if self.fault == "no logprobs" and self.answered >= self.fail_after:
            return {"text": "", "logprobs": None}
        if self.fault == "no echo" and self.answered >= self.fail_after:
            values, tops, tokens, offsets = values[-1:], tops[-1:], tokens[-1:], offsets[-1:]
        return {
            "text": "",
            "logprobs": {
                "token_logprobs": values,
                "top_logprobs": tops,
                "tokens": tokens,
                "text_offset": offsets,
            },
        }


class Handler(BaseHTTPRequestHandler):
    server: Completions

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers_seen.append(self.headers.get("Authorization", ""))
        fault = self.server.fault if self.server.answered >= self.server.fail_after else ""
        if self.path != "/v1/completions":
            self.reply(404, b"nothing here")
        elif fault.startswith("status"):
            self.reply(int(fault.split()[1]), b"the engine is gone\nfor good")
        elif fault == "text":
            self.reply(200, b"<html>hello</html>")
        elif fault == "slow":
            self.server.closed.wait(60)  # without an answer for as long as the server lives
        else:
            answer = json.dumps(self.server.complete(body)).encode()
            self.server.answered += 1
            self.reply(200, answer)

    def reply(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has given up

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(model: Any, tokenizer: Any) -> Iterator[Completions]:
    """A server on a free port of this machine, for the block."""
    server = Completions(model, tokenizer)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
