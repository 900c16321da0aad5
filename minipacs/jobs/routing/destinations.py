"""Whom routes send to: a peer, over associations, or a server of DICOMweb; how is all that differs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from minipacs.archive.reader import ObjectReader
from minipacs.index import StoredInstance
from minipacs.net.access import Peer
from minipacs.net.requestor import Requestor
from minipacs.scu.delivery import Delivery
from minipacs.scu.http import Site
from minipacs.scu.principal import Principal
from minipacs.scu.stow import StowDelivery
from minipacs.scu.tally import Tally

STOW = "stow:"
"""Begins the destinations that are a [[dicomweb]]."""


class Destination(Protocol):
    """Somebody to send to. `host` is where that is, for the audit trail."""

    @property
    def host(self) -> str:
        """Its host."""

    def send(
        self, instances: Sequence[StoredInstance], tally: Tally, principal: Principal, *, rate: int, is_urgent: bool
    ) -> str:
        """Send at most `rate` bytes a second, 0 for no limit; returns why it could not be had, "" if it could."""


@dataclass(frozen=True, slots=True)
class DicomDestination:
    """A peer."""

    reader: ObjectReader
    requestor: Requestor
    peer: Peer
    sent: Callable[[str, int], None]

    @property
    def host(self) -> str:
        """Its host."""
        return self.peer.host

    def send(
        self, instances: Sequence[StoredInstance], tally: Tally, principal: Principal, *, rate: int, is_urgent: bool
    ) -> str:
        """Send by C-STORE, of high Priority if it is urgent, else of medium (PS3.7 9.1.1.1)."""
        delivery = Delivery(
            self.reader, self.requestor, self.peer, self.sent, rate=rate, priority=1 if is_urgent else 0
        )
        return delivery.send(instances, tally, principal)


@dataclass(frozen=True, slots=True)
class WebDestination:
    """A server of DICOMweb."""

    reader: ObjectReader
    site: Site
    token_file: str
    sent: Callable[[str, int], None]

    @property
    def host(self) -> str:
        """Its host."""
        return urlsplit(self.site.url).hostname or ""

    def send(
        self, instances: Sequence[StoredInstance], tally: Tally, principal: Principal, *, rate: int, is_urgent: bool
    ) -> str:
        """Send by STOW-RS, which knows nothing of what is urgent."""
        delivery = StowDelivery(self.reader, self.site, self.token_file, self.sent, rate)
        return delivery.send(instances, tally, principal)


@dataclass(frozen=True, slots=True)
class Destinations:
    """Finds destinations by their names. `sites` are those of [[dicomweb]], each with the file of its token."""

    reader: ObjectReader
    requestor: Requestor
    peer: Callable[[str], Peer | None]
    sites: Mapping[str, tuple[Site, str]]
    sent: Callable[[str, int], None]

    def find(self, name: str) -> Destination | None:
        """Return a destination, None if there is none of this name that could be called."""
        if name.startswith(STOW):
            site = self.sites.get(name.removeprefix(STOW))
            return None if site is None else WebDestination(self.reader, *site, self.sent)
        peer = self.peer(name)
        return None if peer is None else DicomDestination(self.reader, self.requestor, peer, self.sent)
