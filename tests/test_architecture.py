"""How the rooms lie: a module imports from its own room and those below it alone, and imports go in no circle."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "hf_pneumo"
# From the ground up; rooms of one row may be entered from each other as long as no circle comes of it.
ROOMS = (
    {"files", "lazy", "project", "records"},
    {"imaging"},
    {"data"},
    {"models"},
    {"explain"},
    {"evaluation"},
    {"reporting", "training", "segmentation"},
    {"experiments"},
    {"serving"},
    {"hub"},
    {"cli"},
)
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(tree: ast.AST) -> set[str]:
    """The package's own modules that a piece of code imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hf_pneumo"):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if name in MODULES} or {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name in MODULES}
    return names - {"hf_pneumo"}


GRAPH = {
    name: imported(ast.parse(path.read_text(encoding="utf-8"))) for name, path in MODULES.items() if name != "hf_pneumo"
}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_module_lies_in_a_room_that_has_its_place():
    assert {room(name) for name in GRAPH} == set(FLOOR)


def test_no_import_leads_upward():
    upward = [f"{a} -> {b}" for a, found in GRAPH.items() for b in found if FLOOR[room(b)] > FLOOR[room(a)]]
    assert not upward


def test_no_circle_of_imports():
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(GRAPH.get(name, ())):
                visit(other, (*way, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


def test_imaging_needs_no_torch():
    for name, path in MODULES.items():
        if name.startswith("hf_pneumo.imaging"):
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            roots = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
            assert "torch" not in {root.partition(".")[0] for root in roots}, name


def test_no_function_bears_its_modules_name():
    """`from x import x` would hide the module; only a program's `main.main` is what everybody expects."""
    for name, path in MODULES.items():
        functions = {
            node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
        }
        assert name.rpartition(".")[2] not in functions - {"main"}, name


def test_every_module_has_its_test_file():
    """`tests/<room>/test_<module>.py`; what a module does within a whole flow is tested in tests/flows beside."""
    tests = PACKAGE.parent / "tests"
    modules = [path.relative_to(PACKAGE) for path in MODULES.values() if not path.name.startswith("__")]
    assert not [str(path) for path in modules if not (tests / path.parent / f"test_{path.name}").is_file()]
