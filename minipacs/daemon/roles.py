"""THE table of the daemon's processes: what each is for, how many there are, where it listens."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from minipacs.config import Config
from minipacs.daemon.processes import hl7, jobs, web, worker
from minipacs.daemon.processes.shared import Run
from minipacs.daemon.sockets import DICOM, DICOM_TLS, HL7, METRICS, WEB, web_workers

MAX_NAME_LENGTH = 6
"""Of `minipacs-<name>`, which the system cuts at 15 characters."""


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of process. `count` gives how many a configuration asks for, `endpoints` names what they listen on."""

    name: str
    run: Run
    count: Callable[[Config], int]
    endpoints: frozenset[str]


def _workers(config: Config) -> int:
    return config.ae.workers or len(os.sched_getaffinity(0))


ROLES = (
    Role("jobs", jobs.run, lambda config: 1, frozenset({METRICS})),
    Role("worker", worker.run, _workers, frozenset({DICOM, DICOM_TLS})),
    Role("web", web.run, web_workers, frozenset({WEB})),
    Role("hl7", hl7.run, lambda config: int(bool(config.hl7.port)), frozenset({HL7})),
)
"""The first is alone, comes before the others, gets the archive ready for them, and ends after them."""
FIRST = ROLES[0]


def team_size(config: Config) -> int:
    """Return how many processes a configuration asks for."""
    return sum(role.count(config) for role in ROLES)
