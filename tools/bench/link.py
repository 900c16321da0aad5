"""A line of 1 Gbit/s between this machine and a network namespace of its own; root makes it, and it goes at the end."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tools.bench.systems import BenchError

HERE, THERE = "198.18.0.1", "198.18.0.2"
"""Of the addresses that are set aside for measuring (RFC 2544)."""
SHAPE = "tbf rate 1gbit burst 256kb latency 50ms"


@dataclass(frozen=True)
class Link:
    """How `address` here is reached: by a command that begins with `prefix`."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


@contextmanager
def slow_link() -> Iterator[Link]:
    """Make the line. Raises BenchError where the machine forbids it."""
    name = f"minipacs-{os.getpid()}"
    near, far = f"mp{os.getpid()}n", f"mp{os.getpid()}f"
    _do(f"ip netns add {name}")
    try:
        _do(f"ip link add {near} type veth peer name {far} netns {name}")
        try:
            for where, device, address in (("ip", near, HERE), (f"ip -n {name}", far, THERE)):
                _do(f"{where} address add {address}/30 dev {device}")
                _do(f"{where} link set {device} up")
            _do(f"tc qdisc add dev {near} root {SHAPE}")
            _do(f"tc -n {name} qdisc add dev {far} root {SHAPE}")
            yield Link(HERE, ("ip", "netns", "exec", name))
        finally:
            _do(f"ip link delete {near}")
    finally:
        _do(f"ip netns delete {name}")


def _do(command: str) -> None:
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchError(f"{command}: {error.strerror}") from error
    if done.returncode:
        raise BenchError(f"{command}: {done.stderr.strip()}")
