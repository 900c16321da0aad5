"""From a configuration to what calls others and is called: parts of commands and of the daemon's processes."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from minipacs.config import Config
from minipacs.dicom.matching.words import asked, keys_of, words_of
from minipacs.dicom.tables.keys import KeyTable
from minipacs.net.access import Access, Peer, PeerTable
from minipacs.net.association import Timeouts
from minipacs.net.identity.user_identity import UserCheck
from minipacs.net.identity.users import Users
from minipacs.net.places import Places
from minipacs.net.requestor import Requestor
from minipacs.net.wire.tls import TlsFiles

if TYPE_CHECKING:
    from minipacs.archive.archive import Archive
    from minipacs.archive.care.retention import Rule
    from minipacs.hl7.receiver import Policy
    from minipacs.jobs.routing.destinations import Destinations
    from minipacs.jobs.routing.outcomes import Retries
    from minipacs.jobs.routing.rules import Route
    from minipacs.jobs.webhooks import Webhook
    from minipacs.scu.http import Site


def peers(config: Config) -> PeerTable:
    """Return the configured peers as the network layer knows them."""
    return PeerTable(
        Peer(
            title=p.title,
            host=p.host,
            port=p.port,
            allow=p.allow,
            charset=p.charset,
            max_associations=p.max_associations,
            transfer_syntaxes=p.transfer_syntaxes,
            tls=p.tls,
            certificate=p.certificate,
        )
        for p in config.peers
    )


def hl7_policy(config: Config) -> "Policy":
    """Return whose messages are taken, and how they are read."""
    from minipacs.hl7.orders import Rules, Station
    from minipacs.hl7.receiver import Policy

    hl7 = config.hl7
    stations = [Station(s.title, s.modality, s.location) for s in config.stations]
    return Policy(hl7.charset, frozenset(hl7.senders), Rules(hl7.authority, stations))


def routes(config: Config, keys: KeyTable) -> "list[Route]":
    """Return the rules by which objects are sent on."""
    from minipacs.jobs.routing.hours import Hours
    from minipacs.jobs.routing.rules import Route

    return [
        Route(
            name=r.name,
            on=r.on,
            to=r.to,
            words=words_of(r.match, keys),
            sources=frozenset(r.from_),
            level=r.level,
            hours=Hours(r.hours),
            rate=r.rate,
            priors=r.priors,
            dry_run=r.dry_run,
            announce=r.announce,
        )
        for r in config.routes
    ]


def retention(config: Config, keys: KeyTable) -> "list[Rule]":
    """Return the rules by which studies are let go."""
    from minipacs.archive.care.retention import Rule

    return [
        Rule(
            name=r.name,
            keys=asked(keys_of(r.match), keys, "STUDY"),
            keep_years=r.keep_years,
            keep_days=r.keep_days,
            since=r.since,
            grace_days=r.grace_days,
            needs_copy=r.needs_copy,
            enabled=r.enabled,
            max_a_day=r.max_a_day,
        )
        for r in config.retention
    ]


def site(config: Config, url: str) -> "Site":
    """Return a server of the web, by its URL."""
    from minipacs.scu.http import Site

    limits = config.timeouts
    return Site(url, tls_files(config).web_client, limits.connect, limits.dimse, limits.dimse)


def destinations(config: Config, archive: "Archive", sent: Callable[[str, int], None]) -> "Destinations":
    """Return whom routes send to; `sent` hears of the bytes of each data set."""
    from minipacs.jobs.routing.destinations import Destinations

    sites = {there.name: (site(config, there.url), there.token_file) for there in config.dicomweb}
    return Destinations(archive, requestor(config), peers(config).destination, sites, sent)


def webhooks(config: Config) -> "list[Webhook]":
    """Return who is told of what happens."""
    from minipacs.jobs.webhooks import Webhook

    return [Webhook(site(config, hook.url), hook.events, hook.secret_file) for hook in config.webhooks]


def retries(config: Config) -> "Retries":
    """Return when what could not be sent is tried again."""
    from minipacs.jobs.routing.outcomes import Retries

    queue = config.queue
    return Retries(queue.retry_s, queue.retry_max_s, queue.give_up_h * 3600)


def tls_files(config: Config) -> TlsFiles:
    """Return what TLS is made of."""
    tls = config.tls
    return TlsFiles(tls.certificate, tls.key, tls.ca, tls.crl, tls.minimum)


def requestor(config: Config) -> Requestor:
    """Return what opens associations under our title. Raises MinipacsError for files of [tls] that are no good."""
    limits = config.timeouts
    timeouts = Timeouts(acse=limits.acse, dimse=limits.dimse, idle=limits.idle, connect=limits.connect)
    is_needed = any(peer.tls for peer in config.peers)
    return Requestor(
        config.ae.title, timeouts, config.ae.max_pdu_bytes, tls_files(config).client() if is_needed else None
    )


def access(config: Config, addresses: Iterable[str], places: Places) -> Access:
    """Return who may call on sockets that listen at `addresses`.

    They decide the default policy, not `ae.bind`: sockets that systemd opened may be at others.
    """
    ae, policy = config.ae, config.policy(addresses)
    return Access(
        ae.title,
        policy,
        peers(config),
        ae.max_associations,
        check_called_title=ae.check_called_title,
        places=places,
        users=UserCheck(config.access.identity, Users(config.users_path)),
    )
