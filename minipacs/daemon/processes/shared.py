"""What a process has from its parent, whatever its role."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minipacs.archive.ports import DaemonLock
from minipacs.config import Config
from minipacs.daemon.processes.process import Control
from minipacs.daemon.slots import Slots
from minipacs.daemon.sockets import Sockets
from minipacs.net.places import PlaceTable


@dataclass(frozen=True, slots=True)
class Shared:
    """One configuration, and what is in common of all processes that work by it.

    To write to the eventfd `wake_fd` lets the jobs process look for work. `lock` is there as long as the archive has
    not been made ready: who is given it does that. `number` tells a process from others of its role, from 0.
    """

    config: Config
    sockets: Sockets
    places: PlaceTable
    slots: Slots
    metrics_folder: Path
    accounts: socket.socket
    inbox: socket.socket
    wake_fd: int
    lock: DaemonLock | None = None
    number: int = 0


Run = Callable[[Shared, Control], None]
"""Is a process, from its beginning to its end. Raises MinipacsError if it cannot begin."""
