import asyncio
import time
from collections import deque


class RateLimiter:
    """Let at most `calls` pass in any stretch of `period` seconds."""

    def __init__(self, calls, period, clock=time.monotonic):
        self.calls = calls
        self.period = period
        self.clock = clock
        self.passed = deque()
        self.lock = asyncio.Lock()

    def _forget(self, now):
        while self.passed and now - self.passed[0] >= self.period:
            self.passed.popleft()

    async def __aenter__(self):
        async with self.lock:
            now = self.clock()
            self._forget(now)
            if len(self.passed) >= self.calls:
                await asyncio.sleep(self.period - (now - self.passed[0]))
                now = self.clock()
                self._forget(now)
            self.passed.append(now)
        return self

    async def __aexit__(self, kind, error, trace):
        return False


async def fetch_all(fetch, addresses, calls_per_second):
    limiter = RateLimiter(calls_per_second, 1.0)
    results = {}

    async def one(address):
        async with limiter:
            try:
                results[address] = await fetch(address)
            except OSError as error:
                results[address] = error

    await asyncio.gather(*(one(address) for address in addresses))
    return results
