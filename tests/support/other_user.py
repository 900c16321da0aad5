"""Commands that are called by another user."""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.support.server import NURSERY

NOBODY = 65534
GROUP = 65533
TIMEOUT_S = 60


def run_as(uid: int, config: Path, command: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command as another user of the group GROUP, or as root, 0, that becomes the owner of the storage folder."""
    arguments = [command, *map(str, words)]
    environment = {**os.environ, "MINIPACS_CONFIG": str(config)}
    with tempfile.TemporaryFile("w+") as stdout:
        child = NURSERY.start(arguments, environment=environment, user=(uid, GROUP), stdout=stdout.fileno())
        with child.stderr as told:
            stderr = told.read()
        status = child.wait(TIMEOUT_S)
        stdout.seek(0)
        return subprocess.CompletedProcess(arguments, status, stdout.read(), stderr)
