"""The process that decodes and encodes pixels: `python -m minipacs.pixels.process FD` (see `codec_pool`).

FD is a SOCK_SEQPACKET socket. Each request is one packet, the digest and the transfer syntax wanted, and two open
files: the stored one and the one to write to. The word `COMPARE` behind has that one, a DICOM file then, read again and
compared. Answers: `WORKING` at once and after each frame, then `DONE`, or `FAILED` with the reason.
"""

import hashlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from typing import NoReturn

from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.transcode import fingerprint, transcode

WORKING, DONE, FAILED = b"+", b"=", b"!"
COMPARE = "compare"
MAX_PACKET_BYTES = 1024
MAX_REASON_BYTES = 500
MAX_ADDRESS_SPACE_BYTES = 8 << 30
"""Beyond, an image fails, whatever it says of its size."""
IDLE_S = 60
_PIECE_BYTES = 1 << 20


class _Damaged(Exception):
    """The stored file is not what its digest says."""


def main(fd: int) -> NoReturn:
    """Serve requests until the other end closes, or none comes for `IDLE_S`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent's end is ours: its socket closes
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES, MAX_ADDRESS_SPACE_BYTES))
    with socket.socket(fileno=fd) as connection, suppress(OSError):  # whoever waits for an answer is gone
        while True:
            connection.settimeout(IDLE_S)
            request, fds, _, _ = socket.recv_fds(connection, MAX_PACKET_BYTES, 2)
            if not request:
                break
            connection.settimeout(None)
            with FileIO(fds[0], "r") as source, FileIO(fds[1], "r+") as target:
                connection.send(_serve(connection, request.decode("ascii").split(" "), source, target))
    os._exit(0)


def _serve(connection: socket.socket, words: list[str], source: FileIO, target: FileIO) -> bytes:
    """Do one job; returns its final answer. Raises OSError if nobody waits for it any more."""
    digest, transfer_syntax_uid, *more = words

    def working() -> None:
        connection.send(WORKING)

    try:
        working()
        _check(source, digest)
        source.seek(0)
        transcode(source, target, transfer_syntax_uid, working)
        if more == [COMPARE]:
            _compare(source, target, working)
    except (TranscodeError, _Damaged) as error:
        return FAILED + str(error).encode("utf-8", "replace")[:MAX_REASON_BYTES]
    except MemoryError:
        return FAILED + b"needs too much memory"
    except BrokenPipeError:
        raise
    except OSError as error:
        return FAILED + f"file cannot be read or written: {error.strerror}".encode()
    return DONE


def _compare(source: FileIO, target: FileIO, working: Callable[[], None]) -> None:
    for file in (source, target):
        file.seek(0)
    if fingerprint(source, working) != fingerprint(target, working):
        raise TranscodeError("what was written does not say the same")


def _check(source: FileIO, digest: str) -> None:
    found, buffer = hashlib.sha256(), bytearray(_PIECE_BYTES)
    while size := source.readinto(buffer):
        found.update(memoryview(buffer)[:size])
    if found.hexdigest() != digest:
        raise _Damaged("file is damaged: its digest differs")


if __name__ == "__main__":
    main(int(sys.argv[1]))
