"""Bad days for the loopback Hub: an ASGI layer in front of it that fails chosen requests a chosen number of times."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

BAD_GATEWAY = b'{"error": "the loopback Hub was told to fail"}'


@dataclass
class Fault:
    """One planned failure of the requests whose `METHOD /path` matches `pattern`, the next `times` times.

    `status` answers with that code (and Retry-After); `drop_body` cuts the connection after so many bytes of the
    answer's body, `drop_upload` after so many of the request's; `stall_body` sends so many bytes and then nothing
    until the client hangs up; `corrupt` flips the answer's first byte; `before` is called first, for example to commit
    something else meanwhile; `lose_answer` carries the request out and cuts the connection instead of answering.
    """

    pattern: str
    times: int = 1
    status: int | None = None
    retry_after: int | None = None
    drop_body: int | None = None
    drop_upload: int | None = None
    stall_body: int | None = None
    corrupt: bool = False
    before: Callable[[], object] | None = None
    lose_answer: bool = False
    seen: int = 0


class FaultyApp:
    """Wraps the ASGI app `app`; `plan` faults, read `log` for the requests that came in."""

    def __init__(self, app: Callable) -> None:
        self.app = app
        self.faults: list[Fault] = []
        self.log: list[str] = []

    def plan(self, pattern: str, **how: object) -> Fault:
        fault = Fault(pattern, **how)
        self.faults.append(fault)
        return fault

    def clear(self) -> None:
        self.faults.clear()
        self.log.clear()

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = f"{scope['method']} {scope['raw_path'].decode()}"
        self.log.append(request)
        fault = next((f for f in self.faults if f.seen < f.times and re.search(f.pattern, request)), None)
        if fault is None:
            return await self.app(scope, receive, send)
        fault.seen += 1
        if fault.before is not None:
            fault.before()
        if fault.status is not None:
            return await _refuse(fault, receive, send)
        connection = receive.__self__.transport  # uvicorn's own: ASGI itself cannot drop a connection
        if fault.drop_upload is not None:
            await _read(receive, fault.drop_upload)
            return connection.abort()
        if fault.lose_answer:
            await self.app(scope, receive, _swallow)
            return connection.abort()
        await self.app(scope, receive, _spoiled(fault, receive, send, connection.close))


async def _read(receive: Callable, limit: float = float("inf")) -> None:
    got = 0
    while got < limit:
        message = await receive()
        got += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


async def _refuse(fault: Fault, receive: Callable, send: Callable) -> None:
    await _read(receive)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BAD_GATEWAY)).encode())]
    if fault.retry_after is not None:
        headers.append((b"retry-after", str(fault.retry_after).encode()))
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": BAD_GATEWAY})


async def _swallow(message: dict) -> None:
    """Let the app believe that it has answered."""


def _spoiled(fault: Fault, receive: Callable, send: Callable, cut: Callable[[], None]) -> Callable:
    limit = fault.drop_body if fault.drop_body is not None else fault.stall_body
    sent = 0

    async def spoil(message: dict) -> None:
        nonlocal sent
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or not body:
            return await send(message)
        if fault.corrupt and sent == 0:
            message = {**message, "body": bytes([body[0] ^ 0xFF]) + body[1:]}
        if limit is not None and sent + len(body) > limit:
            if sent < limit:
                await send({"type": "http.response.body", "body": body[: limit - sent], "more_body": True})
            sent = limit
            while fault.stall_body is not None and (await receive())["type"] != "http.disconnect":
                continue
            return cut()
        sent += len(body)
        await send(message)

    return spoil
