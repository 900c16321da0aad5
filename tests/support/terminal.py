"""The other end of a terminal that a command writes to."""

import os


def read_all(fd: int) -> bytes:
    """Read what was shown until nobody has the terminal open any more, and close this end."""
    shown = b""
    try:
        while piece := os.read(fd, 4096):
            shown += piece
    except OSError:
        pass  # Linux fails a read once the other end is closed
    finally:
        os.close(fd)
    return shown
