"""When the files were last read and checked, and how much was wrong: for the metrics."""

import json
from typing import NamedTuple

from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger import settings

_NAME = "last_check"


class LastCheck(NamedTuple):
    """A check of all files: when it ended, in seconds since 1970 (0: there was none yet), and what was wrong then."""

    ended_at: float = 0.0
    findings: int = 0


class Checks:
    """Remembers the last check; safe to use from any thread. Calls raise Failure."""

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change

    def note(self, check: LastCheck) -> None:
        """Remember a check that has ended."""
        self._change(lambda connection: settings.write(self._engine, connection, _NAME, json.dumps(check)))

    def last(self) -> LastCheck:
        """Return the last one."""
        with self._engine.errors(), self._engine.reader() as connection:
            found = settings.read(self._engine, connection, _NAME)
        return LastCheck(*json.loads(found)) if found else LastCheck()
