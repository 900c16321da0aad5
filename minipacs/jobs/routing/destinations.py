"""Whom routes send to, or announce to: peers, over associations, and servers of DICOMweb; how is all that differs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from minipacs.archive.archive import Archive
from minipacs.archive.ports import Catalogue
from minipacs.archive.reader import ObjectReader
from minipacs.dicom.workflow.availability import notification
from minipacs.index import StoredInstance
from minipacs.jobs.routing.rules import places_of
from minipacs.net.access import Peer
from minipacs.net.requestor import Requestor
from minipacs.scu.availability import announce
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
class Announcement:
    """A peer that is told what can be retrieved here, and sent nothing else."""

    index: Catalogue
    requestor: Requestor
    peer: Peer

    @property
    def host(self) -> str:
        """Its host."""
        return self.peer.host

    def send(
        self, instances: Sequence[StoredInstance], tally: Tally, principal: Principal, *, rate: int, is_urgent: bool
    ) -> str:
        """Announce the instances of one study by N-CREATE, which knows nothing of rates and of what is urgent."""
        places = places_of(self.index, [instance.sop_instance_uid for instance in instances])
        there = [instance for instance in instances if instance.sop_instance_uid in places]
        listed = [(places[i.sop_instance_uid][1], i.sop_class_uid, i.sop_instance_uid) for i in there]
        if not there:
            return ""  # all is gone meanwhile
        made = notification(self.requestor.ae_title, places[there[0].sop_instance_uid][0], listed)
        return announce(self.requestor, self.peer, made, instances, tally, principal)


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

    archive: Archive
    requestor: Requestor
    peer: Callable[[str], Peer | None]
    sites: Mapping[str, tuple[Site, str]]
    sent: Callable[[str, int], None]

    def find(self, name: str, *, announces: bool = False) -> Destination | None:
        """Return a destination, None if there is none of this name that could be called."""
        reader = self.archive.reader
        if name.startswith(STOW):
            site = self.sites.get(name.removeprefix(STOW))
            return None if site is None else WebDestination(reader, *site, self.sent)
        peer = self.peer(name)
        if peer is None:
            return None
        if announces:
            return Announcement(self.archive.index, self.requestor, peer)
        return DicomDestination(reader, self.requestor, peer, self.sent)
