import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_LINES = 420
MAX_FILES = 15


def test_imports_go_down_only():
    script = (
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True, no_cache=True))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert f"Contracts: {len(contracts)} kept, 0 broken." in result.stdout


def test_no_module_is_too_long():
    modules = [path for path in (ROOT / "minipacs").rglob("*.py") if "node_modules" not in path.parts]
    lines = {path: len(path.read_text().splitlines()) for path in modules}
    assert lines
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > MAX_LINES} == {}


def test_no_room_holds_too_many_files():
    """Beyond that there is a wall waiting to be found; `__init__` is the door."""
    rooms = [path.parent for path in (ROOT / "minipacs").rglob("__init__.py") if "node_modules" not in path.parts]
    files = {room.relative_to(ROOT).as_posix(): len(list(room.glob("*.py"))) - 1 for room in rooms}
    assert files
    assert {room: n for room, n in files.items() if n > MAX_FILES} == {}


FILE_CALLS = {"stat", "lstat", "rename", "replace", "unlink", "remove", "link", "open"}
OWN_FILES = {
    "archive/media/exporting.py": "writes copies into a folder of the administrator's",
    "archive/media/importing.py": "reads what is to be imported",
    "archive/care/reindex.py": "removes the second index",
}


def test_nobody_outside_the_tree_joins_or_changes_paths_of_stored_files():
    """Another store of objects has no paths (`archive.ports`)."""
    found = set()
    for path in [*sorted((ROOT / "minipacs" / "archive").rglob("*.py")), ROOT / "minipacs/jobs/compression.py"]:
        name = str(path.relative_to(ROOT / "minipacs"))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                if node.attr in FILE_CALLS:
                    found.add(name)
            elif isinstance(node, ast.Attribute) and node.attr == "layout":
                assert name == "archive/archive.py", f"{name}:{node.lineno}: it opens the tree, the others do not"
    assert found <= set(OWN_FILES), found - set(OWN_FILES)


def test_the_architecture_names_rooms_and_files_that_there_are():
    text = (ROOT / "docs/architecture.md").read_text()
    files = [
        "/" + path.relative_to(ROOT).as_posix()
        for top in ("docs", "minipacs", "tests", "tools")
        for path in (ROOT / top).rglob("*")
    ]
    named = set(re.findall(r"`([\w/]+\.(?:py|md))`", text))
    assert named
    assert [name for name in sorted(named) if not any(path.endswith("/" + name) for path in files)] == []
    rooms = {path.parent.name for path in (ROOT / "minipacs").glob("*/__init__.py")}
    picture = text.partition("```\n")[2].partition("```")[0]
    assert [room for room in sorted(rooms) if not re.search(rf"\b{room}\b", picture)] == []
