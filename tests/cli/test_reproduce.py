"""The table between the README's markers is replaced, and nothing else of it."""

from __future__ import annotations

from hf_pneumo.cli.reproduce import Arguments, pages


class Page:
    def __init__(self, results):
        self.results = results

    def headline(self) -> str:
        return "| new |\n"

    def text(self) -> str:
        return "# Results\n"


def test_both_pages_and_what_they_are_to_say(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\n| old |\n<!-- end of results -->\nafter\n")
    texts = pages(Arguments(readme=str(readme)), Page(tmp_path / "results"))
    assert texts[readme] == "before\n<!-- results -->\n| new |\n<!-- end of results -->\nafter\n"
    assert texts[tmp_path / "results/README.md"] == "# Results\n"
