"""How the source is written: small files and functions, documented, named in the field's words."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "metseg"
FILES = sorted(path for folder in ("src", "tests", "scripts") for path in (ROOT / folder).rglob("*.py"))
NUMERIC_ROOMS = ("core", "lesions", "evaluate", "networks", "preprocess")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
FILE_ACCESS = {
    *("open", "fromfile", "tofile", "loadtxt", "savetxt", "memmap", "save", "savez", "savez_compressed"),
    *("read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "rmdir", "iterdir", "rglob"),
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public_parts(tree: ast.Module) -> Iterator[tuple[str, ast.Module | ast.ClassDef | Function]]:
    """The module, its public functions and classes, and their public methods."""
    yield "the module", tree
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            inner = node.body if isinstance(node, ast.ClassDef) else []
            yield from ((f"{node.name}.{part.name}", part) for part in inner if is_public_method(part))


def is_public_method(node: ast.stmt) -> bool:
    return isinstance(node, Function) and not node.name.startswith("_") and not overloads(node)


def overloads(node: Function) -> bool:
    names = {decorator.id for decorator in node.decorator_list if isinstance(decorator, ast.Name)}
    return not names.isdisjoint({"overload", "override"})


def called(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            yield node.lineno, name


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_files_have_at_most_400_lines():
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_functions_have_at_most_60_lines(trees):
    lengths = {
        f"{named(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in trees.items()
        for node in functions(tree)
    }
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_everything_public_is_documented(trees):
    missing = [
        f"{named(path)}: {name}"
        for path, tree in trees.items()
        if PACKAGE in path.parents and not any(part.startswith("_") and part != "__init__.py" for part in path.parts)
        for name, part in public_parts(tree)
        if not ast.get_docstring(part)
    ]
    assert missing == []


def test_numeric_rooms_open_no_file(trees):
    found = [
        f"{named(path)}:{line} {name}"
        for path, tree in trees.items()
        if PACKAGE in path.parents and path.relative_to(PACKAGE).parts[0] in NUMERIC_ROOMS
        for line, name in called(tree)
        if name in FILE_ACCESS
    ]
    assert found == []


def test_three_files_name_the_package_of_nnunet():
    """One that runs inside a child process, the trainer that it uses, and one that starts it."""
    found = {
        named(path) for path in FILES if PACKAGE in path.parents and "nnunetv2" in path.read_text(encoding="utf-8")
    }
    assert found == {f"src/metseg/training/nnunet/{name}.py" for name in ("child", "process", "trainer")}


def test_no_file_has_a_vague_name():
    assert [named(path) for path in FILES if not VAGUE.isdisjoint(path.stem.split("_"))] == []


def test_test_files_can_be_told_apart():
    names = [path.name for path in FILES if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
