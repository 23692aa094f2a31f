"""List blocks of at least six equal lines of logic that stand in two places; status 1 where there are any.

    python scripts/duplicates.py [FOLDER ...]

Compared are lines as they are, without blank lines, comments, docstrings, imports and the frame of a call; what only
closes brackets or names arguments does not count as logic.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("hf_pneumo", "space", "scripts")
LINES = 6
# Closing brackets, a name alone, an argument that is handed on, a decorator, a field without a value.
FRAME = re.compile(
    r"[\])}]*,?:?|[\w.\"']+,|\w+=[\w.]+,|@\w.*|\w+: [^=]+|\w+: [^=]+ = [^=]+,|\*,?|from .*|import .*|return \w+"
    r"|else:|try:"
)


def logic(path: Path) -> list[tuple[int, str]]:
    """The numbered lines of a module that say what is done."""
    source = path.read_text(encoding="utf-8")
    texts = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = [(number, line.strip()) for number, line in enumerate(source.splitlines(), start=1)]
    return [(n, line) for n, line in lines if n not in texts and line and not line.startswith("#")]


def duplicates(paths: list[Path]) -> list[str]:
    """Every two places that share `LINES` lines of which no more than half are mere frame."""
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in paths:
        lines = logic(path)
        for start in range(len(lines) - LINES + 1):
            block = lines[start : start + LINES]
            words = tuple(line for _, line in block)
            if sum(not FRAME.fullmatch(line) for line in words) > LINES // 2:
                places[words].append(f"{path.relative_to(ROOT)}:{block[0][0]}")
    return [f"{' and '.join(where)}: {words[0]} ..." for words, where in places.items() if len(where) > 1]


if __name__ == "__main__":
    folders = sys.argv[1:] or FOLDERS
    found = duplicates([path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))])
    print("\n".join([*found, f"{len(found)} blocks of {LINES} lines stand twice"]))
    sys.exit(bool(found))
