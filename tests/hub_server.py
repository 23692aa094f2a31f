"""A Hugging Face Hub on this machine: the real clients talk to it over real HTTP, nothing of theirs is replaced.

It answers what huggingface_hub, datasets, timm, transformers and the `hf` command ask of the Hub: accounts, model, data
set and Space repositories with LFS, commits, branches, tags, pull requests, privacy and gates, metadata validation and
collections. Endpoints stand in hub_routes.py, state in hub_store.py, planned failures in hub_faults.py.
"""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path
from urllib.parse import unquote

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from hub_call import Call, Refusal
from hub_faults import Fault, FaultyApp
from hub_routes import ROUTES
from hub_store import Store


class HubServer:
    """The server at a reserved address; `start`, `stop` (the Hub is gone) and `reset` (an empty Hub, no faults)."""

    def __init__(self, root: Path, reserved: socket.socket) -> None:
        self.root, self._socket = root, reserved
        self.address = reserved.getsockname()
        self.endpoint = f"http://{self.address[0]}:{self.address[1]}"
        self.store = Store(root)
        api = FastAPI(openapi_url=None)
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        api.add_api_route("/{path:path}", self._answer, methods=methods, response_model=None)
        self.faulty = FaultyApp(api)
        self._thread: threading.Thread | None = None

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode()
        for methods, pattern, handler in ROUTES:
            match = pattern.fullmatch(path)
            if match and request.method in methods.split():
                parts = {name: value and unquote(value) for name, value in match.groupdict().items()}
                try:
                    answer = await handler(Call(self.endpoint, self.store, request, parts))
                except Refusal as refusal:
                    return refusal.answer()
                return answer if isinstance(answer, Response) else JSONResponse(answer)
        return Refusal(404, f"The loopback Hub has no {request.method} {path}").answer()

    @property
    def log(self) -> list[str]:
        """The requests since the last reset, as `METHOD /path`."""
        return self.faulty.log

    def fault(self, pattern: str, **how: object) -> Fault:
        """Plan a failure, see hub_faults.Fault."""
        return self.faulty.plan(pattern, **how)

    def start(self) -> None:
        if self._thread is not None:
            return
        if self._socket.fileno() == -1:
            self._socket = socket.socket(proto=socket.IPPROTO_TCP)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(self.address)
        self._socket.listen(128)  # from here on clients wait in the queue instead of being refused
        config = uvicorn.Config(self.faulty, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([self._socket],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread is None:
            return
        self._uvicorn.should_exit = True
        self._thread.join()
        self._socket.close()
        self._thread = None

    def reset(self) -> None:
        self.start()
        self.faulty.clear()
        shutil.rmtree(self.root, ignore_errors=True)
        self.store = Store(self.root)
