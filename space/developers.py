"""Developers: how programs ask this page, its address with the present choices, what was read, and a print view."""

from __future__ import annotations

import gradio as gr
import predict
import reading_history as history
from common import LIGHT, Common
from components.copyable import Text, Texts, copyable
from gradio.route_utils import get_root_url
from reading_history import Entry
from snippets import Snippet, link, snippets

PRINT = """
element.onclick = event => {
  if (!event.target.closest('button')) return;
  document.querySelector('[role=tab]').click();
  setTimeout(() => window.print(), 500);
};
"""


class Developers:
    """What one copies into a program, and what one takes along."""

    name, title = "developers", "Developers"

    def __init__(self, common: Common) -> None:
        self.samples = common.samples
        entries = gr.BrowserState([], storage_key="hf-pneumo-history")
        gr.HTML(
            '<p class="hp-lead">The same answers for programs: the endpoints predict, compare, batch and models, each '
            'a tool for MCP clients, too: <a href="gradio_api/openapi.json">OpenAPI description</a></p>'
        )
        address = copyable("link")
        programs = copyable("snippets")
        gr.HTML('<h3 class="hp-label">Read on this page</h3>')
        read = gr.HTML(history.table([]), elem_id="history")
        with gr.Row():
            clear = gr.Button("Forget what was read", elem_id="forget")
            gr.HTML(
                '<button type="button" class="hp-choice">Print what Read shows</button>',
                js_on_load=PRINT, elem_id="print",
            )  # fmt: skip
        asked = [common.film, common.model, common.held]
        gr.on(
            [common.demo.load, common.model.change, common.held.change],
            self.texts, asked, [address, programs], **LIGHT,
        )  # fmt: skip
        common.demo.load(lambda own: history.table(own or []), entries, read, **LIGHT)
        common.held.change(self.remember, [*asked, entries], [entries, read], **LIGHT)
        clear.click(lambda: ([], history.table([])), None, [entries, read], **LIGHT)

    def texts(
        self, film: str | None, model: str, held: predict.Held | None, request: gr.Request
    ) -> tuple[Texts, Texts]:
        """The page's address with what is chosen, and what programs write to ask the same."""
        url = _url(request)
        method = held.question[2] if held else ""
        here = Snippet("Address of this page with its choices", link(url, model, method, self._example(film)))
        return _texts(here), _texts(*snippets(url, model, method))

    def remember(
        self, film: str | None, model: str, held: predict.Held | None, entries: list[Entry] | None, request: gr.Request
    ) -> tuple[list[Entry], str]:
        """What was read, with the film in hand first."""
        entries = entries or []
        if held is not None:
            example = self._example(film)
            address = "" if example is None else link(_url(request), model, held.question[2], example)
            entries = history.added(entries, history.entry(held, address))
        return entries, history.table(entries)

    def _example(self, film: str | None) -> int | None:
        paths = [str(sample.path) for sample in self.samples.ready()]
        return paths.index(film) if film in paths else None


def _url(request: gr.Request) -> str:
    """The address of the page as the browser sees it, without a slash at its end."""
    return get_root_url(request.request, "/gradio_api/queue/join", request.request.scope.get("root_path"))


def _texts(*own: Snippet) -> Texts:
    return Texts(items=[Text(title=one.title, text=one.text) for one in own])
