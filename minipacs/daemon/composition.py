"""From a configuration to the parts of an archive; what commands and processes of the daemon are built from."""

from collections.abc import Callable, Iterable
from pathlib import Path

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.audit import audit as trail
from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.audit.sinks import FileSink, Sink, TlsSink, UdpSink
from minipacs.config import Config
from minipacs.dicom.tables.keys import KeyTable, extended_key
from minipacs.errors import MinipacsError, system_words
from minipacs.net.access import Access, Peer, PeerTable
from minipacs.net.association import Timeouts
from minipacs.net.identity.user_identity import UserCheck
from minipacs.net.identity.users import Users
from minipacs.net.places import Places
from minipacs.net.requestor import Requestor
from minipacs.net.tls import TlsFiles
from minipacs.services.environment import QueryPolicy


def key_table(config: Config) -> KeyTable:
    """Return the keys that objects are indexed with."""
    return KeyTable([extended_key(text) for text in config.index.keys])


def open_archive(
    config: Config,
    on_commit: Callable[[int], None] = lambda instances: None,
    *,
    read_only: bool = False,
    recovers: bool = False,
) -> Archive:
    """Open the configured archive, see `Archive.open`. Raises MinipacsError."""
    storage = config.storage
    charsets = {peer.title: peer.charset for peer in config.peers}
    policy = StoragePolicy(
        duplicates=storage.duplicates,
        min_free_bytes=storage.min_free_bytes,
        max_instance_bytes=storage.max_instance_bytes,
    )
    return Archive.open(
        storage.path,
        policy,
        sync=storage.sync,
        index_path=config.index_path,
        keys=key_table(config),
        charset_of=lambda ae_title: charsets.get(ae_title, ""),
        on_commit=on_commit,
        read_only=read_only,
        recovers=recovers,
    )


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


def open_audit(config: Config) -> Audit:
    """Open the audit trail of this process, one that tells nothing if it is off. Raises MinipacsError."""
    audit, title = config.audit, config.ae.title
    source = Source(audit.source or title, audit.site)
    if not audit.is_on:
        return Audit(None, source, ae_title=title)
    folder = config.audit_folder
    try:
        return trail.open_audit(folder, source, max_bytes=audit.spool_bytes, queries=audit.queries, ae_title=title)
    except OSError as error:
        raise MinipacsError(f"cannot use the folder of audit messages {folder}: {system_words(error)}") from error


def audit_sinks(config: Config) -> list[Sink]:
    """Return where the audit trail goes."""
    sinks: list[Sink] = []
    if config.audit.file:
        sinks.append(FileSink(Path(config.audit.file), config.audit.keep_days))
    if config.audit.collector is not None:
        scheme, host, port = config.audit.collector
        tls = tls_files(config)
        sinks.append(TlsSink(host, port, tls.client) if scheme == "tls" else UdpSink(host, port))
    return sinks


def query_policy(config: Config) -> QueryPolicy:
    """Return what C-FIND may do."""
    query = config.query
    return QueryPolicy(
        max_matches=query.max_matches,
        relational=query.relational == "always",
        match_unknown=query.match_unknown,
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
