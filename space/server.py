"""What the server lets through, and how it ends: limits for each client, headers, and a way out within seconds."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRACE = 2.5  # seconds from the signal until the process ends, whatever it is doing
AT_ONCE, A_SECOND = 200.0, 10.0  # requests that start work: of one client in a burst, and for ever
BYTES_AT_ONCE, BYTES_A_SECOND = 2.0**30, 2.0**24  # of its uploads
FORGOTTEN = 600.0  # seconds without a request after which a client is a new one
WORK = ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/", "/gradio_api/run/", "/gradio_api/mcp")
HEADERS = {
    # The Hub shows a Space within its own page; nobody else may.
    "content-security-policy": "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class Limits:
    """For each client a bucket of requests and one of bytes, which fill up again; safe under threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = now, threading.Lock()
        self._clients: dict[str, tuple[float, float, float]] = {}  # requests left, bytes left, when that was

    def allow(self, client: str, size: int) -> bool:
        """Whether ``client`` may send a request of ``size`` bytes now; what it may is taken from its buckets."""
        with self._lock:
            now = self._now()
            requests, left, last = self._clients.get(client, (AT_ONCE, BYTES_AT_ONCE, now))
            requests = min(AT_ONCE, requests + (now - last) * A_SECOND)
            left = min(BYTES_AT_ONCE, left + (now - last) * BYTES_A_SECOND)
            allowed = requests >= 1 and left >= size
            self._clients[client] = (requests - allowed, left - size * allowed, now)
            if len(self._clients) > 10_000:
                self._clients = {name: own for name, own in self._clients.items() if now - own[2] < FORGOTTEN}
            return allowed


class Guard:
    """An ASGI middleware: the headers of every answer, and the limits on requests that start work."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        if scope["method"] == "POST" and scope["path"].startswith(WORK) and not self._allow(scope):
            answer = PlainTextResponse("Too many requests at once; wait a few seconds.", 429, {"retry-after": "5"})
            await answer(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _allow(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        size = headers.get(b"content-length", b"0")
        return self.limits.allow(_client(scope, headers), int(size) if size.isdigit() else 0)


def _client(scope: Scope, headers: dict[bytes, bytes]) -> str:
    """The address that a request comes from; on the Hub that which its proxy adds, which a client cannot choose."""
    if os.environ.get("SPACE_ID") and (forwarded := headers.get(b"x-forwarded-for")):
        return forwarded.rpartition(b",")[2].strip().decode("latin-1")
    return scope["client"][0] if scope.get("client") else ""


def end_within_grace(folder: Path) -> None:
    """End this process after GRACE at the latest, in whatever its threads are stuck, and without ``folder``."""

    def end() -> None:
        time.sleep(GRACE)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=end, name="way out", daemon=True).start()
