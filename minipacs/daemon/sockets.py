"""The listening sockets: opened by systemd or from the configuration, kept over reloads."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minipacs.config import Config
from minipacs.errors import MinipacsError
from minipacs.net.listener import bind

Key = tuple[str, int, int]
"""An address, a port as configured, and which copy; of a socket that was inherited an empty address and its number."""

DICOM, DICOM_TLS, METRICS, WEB, HL7 = "dicom", "dicom-tls", "metrics", "web", "hl7"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something that is listened on.

    `name` is the FileDescriptorName= of inherited sockets for it; `where` gives the configured addresses, none if it
    is off, and their port; `label` begins what is said of a fault. `copies` gives how many sockets there are for each
    address: the system spreads connections over them, where processes that share one socket would race for it.
    `switch` is the setting without which an inherited socket would have nobody who answers.
    """

    name: str
    where: Callable[[Config], tuple[Sequence[str], int]]
    label: str = ""
    copies: Callable[[Config], int] = lambda config: 1
    switch: str = ""


def web_workers(config: Config) -> int:
    """Return how many processes serve HTTP."""
    if not config.web.port:
        return 0
    return config.web.workers or max(len(os.sched_getaffinity(0)) // 2, 1)


ENDPOINTS = (
    Endpoint(DICOM, lambda config: (config.ae.bind if config.ae.plain else (), config.ae.port)),
    Endpoint(
        DICOM_TLS,
        lambda config: (config.ae.bind if config.tls.certificate else (), config.tls.port),
        "tls: ",
        switch="tls.certificate",
    ),
    Endpoint(
        METRICS, lambda config: ([config.metrics.bind] * bool(config.metrics.bind), config.metrics.port), "metrics: "
    ),
    Endpoint(
        WEB,
        lambda config: ([config.web.bind] * bool(config.web.port), config.web.port),
        "web: ",
        web_workers,
        switch="web.port",
    ),
    Endpoint(
        HL7,
        lambda config: ([config.hl7.bind] * bool(config.hl7.port), config.hl7.port),
        "hl7: ",
        switch="hl7.port",
    ),
)
"""THE table of what may be listened on. Inherited sockets of an unknown name are for the first."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is listened on, by endpoint. An endpoint that has inherited sockets keeps to them."""

    by_endpoint: Mapping[str, Mapping[Key, socket.socket]] = field(default_factory=dict)

    @classmethod
    def inherited(cls, given: Iterable[tuple[str, socket.socket]]) -> "Sockets":
        """Sort sockets that were opened for us."""
        found: dict[str, dict[Key, socket.socket]] = {endpoint.name: {} for endpoint in ENDPOINTS}
        for number, (name, sock) in enumerate(given):
            found[name if name in found else ENDPOINTS[0].name]["", number, 0] = sock
        return cls(found)

    def follow(self, config: Config) -> "Sockets":
        """Return the sockets for a configuration: those that are open already, and new ones. Raises MinipacsError."""
        found: dict[str, Mapping[Key, socket.socket]] = {}
        for endpoint in ENDPOINTS:
            open_ = self.by_endpoint.get(endpoint.name, {})
            inherited = {key: sock for key, sock in open_.items() if not key[0]}
            try:
                addresses, port = endpoint.where(config)
                if inherited and endpoint.switch and not addresses:
                    raise MinipacsError(f"a socket was passed, but {endpoint.switch} is not set")
                found[endpoint.name] = inherited or _follow(open_, addresses, port, endpoint.copies(config))
            except MinipacsError as error:
                Sockets(found).close_unless(self)
                raise MinipacsError(f"{endpoint.label}{error}") from error
        return Sockets(found)

    def of(self, endpoint: str) -> list[socket.socket]:
        """Give the sockets of an endpoint."""
        return list(self.by_endpoint.get(endpoint, {}).values())

    def close_unless(self, kept: "Sockets") -> None:
        """Close what is not among `kept`."""
        needed = set(kept.all())
        for sock in self.all():
            if sock not in needed:
                sock.close()

    def all(self) -> Iterator[socket.socket]:
        """Give every socket."""
        for sockets in self.by_endpoint.values():
            yield from sockets.values()


def _follow(
    open_: Mapping[Key, socket.socket], addresses: Sequence[str], port: int, copies: int
) -> dict[Key, socket.socket]:
    keys = [(address, port, copy) for address in addresses for copy in range(copies)]
    kept = {key: open_[key] for key in keys if key in open_}
    wanted = port or next((int(sock.getsockname()[1]) for sock in kept.values()), 0)
    new = [key for key in keys if key not in kept]
    opened = bind([address for address, _, _ in new], wanted, shared=copies > 1)
    return kept | dict(zip(new, opened, strict=True))
