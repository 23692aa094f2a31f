"""What a program writes to use this page: a few lines each for Python, a shell and an MCP client."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True)
class Snippet:
    """``text`` to copy, and ``title``, what it is for."""

    title: str
    text: str


def snippets(url: str, model: str, method: str) -> tuple[Snippet, ...]:
    """How to ask the page at ``url`` for what ``model`` says of film.png, and for its map by ``method``."""
    return Snippet("Python", python(url, model, method)), Snippet("Shell", shell(url, model, method)), Snippet(
        "MCP client, such as Claude or Cursor", mcp(url)
    )  # fmt: skip


def python(url: str, model: str, method: str) -> str:
    """With the package gradio_client."""
    return f"""\
from gradio_client import Client, handle_file

client = Client({_quoted(url)})
finding, overlay, archive = client.predict(
    handle_file("film.png"), model={_quoted(model)}, method={_quoted(method)}, api_name="/predict"
)
print(finding["status"], finding["verdict"], finding["probability"])
"""


def shell(url: str, model: str, method: str) -> str:
    """With curl alone: send the film, ask, read the answer."""
    film = {"path": "FILM", "meta": {"_type": "gradio.FileData"}}
    asked = json.dumps({"data": [film, method, "", "", False, model]}).replace("FILM", "'$film'")
    return f"""\
url={url}/gradio_api
film=$(curl -s -F files=@film.png $url/upload | tr -d '[]"')
asked='{asked}'
event=$(curl -s $url/call/predict -H 'Content-Type: application/json' -d "$asked" | cut -d '"' -f 4)
curl -s -N $url/call/predict/$event
"""


def mcp(url: str) -> str:
    """The settings of an MCP client."""
    return json.dumps({"mcpServers": {"chest-films": {"url": f"{url}/gradio_api/mcp/"}}}, indent=2) + "\n"


def link(url: str, model: str, method: str, example: int | None) -> str:
    """The address of the page with these choices; ``example``: number of the example film, None for another film."""
    asked = {"model": model, "method": method} | ({} if example is None else {"example": str(example)})
    return f"{url}/?{urlencode(asked)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
