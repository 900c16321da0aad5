"""The process that decodes and encodes pixels; `pool` starts it.

It has a SOCK_SEQPACKET socket. Each request is one packet, JSON with `verb`, `digest`, `min_free_bytes` and `words`,
and three open files: the stored one, the one to write to, and what is held of the budget for that. Answers: `WORKING`
at once and as it goes on, then `DONE`, or `FAILED` with the kind of failure and the reason.
"""

import json
import os
import resource
import signal
import socket
from contextlib import suppress
from io import FileIO
from typing import NoReturn

from minipacs.errors import NO_ROOM, Kind
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.processes.budget import Budget, Holding
from minipacs.pixels.processes.verbs import VERBS, Copy, Job, limit_memory

WORKING, DONE, FAILED = b"+", b"=", b"!"
MAX_PACKET_BYTES = 4096
MAX_REASON_BYTES = 500
FILES = 3
MAX_ADDRESS_SPACE_BYTES = 8 << 30
"""Beyond, an image fails, whatever it says of its size."""
IDLE_S = 60


def main(fd: int, budget_fd: int, freed_fd: int) -> NoReturn:
    """Serve requests until the other end closes, or none comes for `IDLE_S`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent's end is ours: its socket closes
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES, MAX_ADDRESS_SPACE_BYTES))
    budget = Budget(budget_fd, freed_fd)
    with socket.socket(fileno=fd) as connection, suppress(OSError):  # whoever waits for an answer is gone
        while True:
            connection.settimeout(IDLE_S)
            packet, fds, _, _ = socket.recv_fds(connection, MAX_PACKET_BYTES, FILES)
            if not packet:
                break
            connection.settimeout(None)
            connection.send(_serve(connection, packet, fds, budget))
    os._exit(0)


def _serve(connection: socket.socket, packet: bytes, fds: list[int], budget: Budget) -> bytes:
    """Do one job; returns its final answer. Raises OSError if nobody waits for it any more."""
    request = json.loads(packet)

    def working() -> None:
        connection.send(WORKING)

    space, memory = Holding(fds[2], budget.freed_fd), budget.open()
    try:
        with FileIO(fds[0], "r") as source, Copy(fds[1], space, request["min_free_bytes"]) as target:
            working()
            limit_memory(0)
            job = Job(source, target, working, budget, memory)
            job.check(request["digest"])
            VERBS[request["verb"]](job, request["words"])
    except TranscodeError as error:
        return _failed(error.kind, str(error))
    except MemoryError:
        return _failed(Kind.TOO_LARGE, "needs too much memory")
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = Kind.FULL if error.errno in NO_ROOM else Kind.BUSY
        return _failed(kind, f"file cannot be read or written: {error.strerror}")
    finally:
        memory.close()
        space.close()
    return DONE


def _failed(kind: Kind, reason: str) -> bytes:
    return FAILED + f"{kind.name} {reason}".encode("utf-8", "replace")[:MAX_REASON_BYTES]


def failure_of(answer: bytes) -> TranscodeError:
    """Read an answer that begins with `FAILED`."""
    kind, _, reason = answer[len(FAILED) :].decode("utf-8", "replace").partition(" ")
    return TranscodeError(reason, Kind[kind])
