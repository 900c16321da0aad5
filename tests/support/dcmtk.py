"""Debian's dcmtk, as users run it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = ("echoscu", "storescu", "findscu", "movescu", "getscu", "dcmsend", "storescp", "dcmdump", "dcmconv")
PATH = os.pathsep.join(
    folder for folder in os.environ["PATH"].split(os.pathsep) if folder != os.path.dirname(sys.executable)
)
"""Without the environment's own programs: pynetdicom has some of the same names."""
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def tool(name: str) -> str:
    """Return a tool's path; that it is missing is an error, not a reason to skip."""
    path = shutil.which(name, path=PATH)
    if path is None:
        pytest.fail(f"{name} of dcmtk is not installed: apt-get install dcmtk")
    return path


def run(name: str, *arguments: object, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end; its standard error is part of what it prints."""
    done = subprocess.run(
        [tool(name), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_s,
        env=ENVIRONMENT,
        check=False,
    )
    assert not check or done.returncode == 0, f"{name}: exit {done.returncode}\n{done.stdout}"
    return done


def client(name: str, port: int, *arguments: object, check: bool = True, called: str = "MINIPACS"):
    """Run a client against a local port; options come first, as dcmtk wants them."""
    options = [a for a in arguments if not isinstance(a, Path)]
    files = [a for a in arguments if isinstance(a, Path)]
    return run(name, "-aec", called, *options, "127.0.0.1", port, *files, check=check)
