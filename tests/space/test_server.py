"""What one client may ask for, and what every answer says."""

from __future__ import annotations

import asyncio

from server import AT_ONCE, BYTES_AT_ONCE, HEADERS, Guard, Limits


def test_a_client_gets_a_burst_and_then_a_trickle() -> None:
    now = [0.0]
    limits = Limits(lambda: now[0])
    assert sum(limits.allow("a", 0) for _ in range(int(AT_ONCE) + 50)) == AT_ONCE
    assert limits.allow("b", 0) and not limits.allow("a", 0)  # everybody for themselves
    now[0] = 1.0
    assert sum(limits.allow("a", 0) for _ in range(50)) == 10


def test_a_client_may_not_send_without_end() -> None:
    now = [0.0]
    limits = Limits(lambda: now[0])
    half = int(BYTES_AT_ONCE / 2)
    assert [limits.allow("a", half) for _ in range(3)] == [True, True, False]
    now[0] = 40.0
    assert limits.allow("a", half)


def ask(guard: Guard, method: str, path: str) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of the answer to one request."""
    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "client": ("1.2.3.4", 5)}
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def test_every_answer_may_be_framed_by_the_hub_alone_and_only_work_is_limited() -> None:
    async def page(scope: dict, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    guard = Guard(page, Limits(lambda: 0.0))
    for _ in range(int(AT_ONCE)):
        status, headers = ask(guard, "POST", "/gradio_api/queue/join")
    assert status == 200 and b"https://huggingface.co" in headers[b"content-security-policy"]
    assert set(headers) >= {name.encode() for name in HEADERS}
    status, headers = ask(guard, "POST", "/gradio_api/queue/join")
    assert status == 429 and headers[b"retry-after"] == b"5" and b"content-security-policy" in headers
    assert ask(guard, "GET", "/")[0] == ask(guard, "POST", "/gradio_api/heartbeat")[0] == 200
