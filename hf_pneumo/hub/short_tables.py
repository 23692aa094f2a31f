"""Markdown tables made shorter for a card: equal rows in one, or all rows in a sentence."""

from __future__ import annotations


def collapsed(text: str) -> str:
    """Rows of a table that differ in their first cell alone stand in one, their names with commas between them."""
    return "\n\n".join(map(_collapsed, text.strip().split("\n\n"))) + "\n"


def _collapsed(block: str) -> str:
    names: dict[str, list[str]] = {}
    lines = block.splitlines()
    for line in lines:
        if _is_row(line):
            name, _, rest = line.removeprefix("| ").partition(" | ")
            names.setdefault(rest, []).append(name)
    written: list[str] = []
    for line in lines:
        rest = line.partition(" | ")[2]
        if not _is_row(line):
            written.append(line)
        elif names.get(rest):
            written.append(f"| {' and '.join(names.pop(rest))} | {rest}")
    return "\n".join(written)


def in_words(text: str) -> str:
    """The rows of the first table in ``text`` as one sentence: each row's name, then its cells by their headings."""
    header, _, *rows = (line for line in text.strip().split("\n\n")[0].splitlines() if line.startswith("|"))
    _, *headings = _cells(header)
    told = []
    for row in rows:
        name, *cells = _cells(row)
        figures = ", ".join(f"{heading} {cell}" for heading, cell in zip(headings, cells, strict=True) if cell)
        told.append(f"{name}: {figures}" if name else figures)
    return "; ".join(told) + "."


def _is_row(line: str) -> bool:
    return line.startswith("| ")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
