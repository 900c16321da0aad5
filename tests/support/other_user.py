"""Commands that are called by another user."""

import os
import subprocess
import sys
from pathlib import Path

NOBODY = 65534
GROUP = 65533
PRELOADED = """
import contextlib, encodings, importlib, os, pkgutil, sys
import minipacs
for package in (encodings, minipacs):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        with contextlib.suppress(ImportError):
            importlib.import_module(found.name)
import concurrent.futures.thread, tomllib
from minipacs.cli import main
if uid := int(sys.argv[1]):
    os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(uid)
main(sys.argv[3:], prog_name="minipacs")
"""
"""The program with all that it may need: Python itself need not be readable for the user that it becomes."""


def run_as(uid: int, config: Path, command: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command as another user of the group GROUP, or as root, 0, that becomes the owner of the storage folder."""
    program = [sys.executable, "-c", PRELOADED, str(uid), str(GROUP), command, *words]
    environment = {**os.environ, "MINIPACS_CONFIG": str(config)}
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
