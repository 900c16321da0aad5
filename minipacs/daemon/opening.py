"""From a configuration to an archive and an audit trail that are open: all that most commands need."""

from collections.abc import Callable

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.audit import audit as audit_room
from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.config import Config
from minipacs.dicom.tables.keys import KeyTable, extended_key
from minipacs.errors import MinipacsError, system_words


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


def open_audit(config: Config) -> Audit:
    """Open the audit trail of this process, one that tells nothing if it is off. Raises MinipacsError."""
    audit, title = config.audit, config.ae.title
    source = Source(audit.source or title, audit.site)
    if not audit.is_on:
        return Audit(None, source, ae_title=title)
    folder = config.audit_folder
    try:
        return audit_room.open_audit(folder, source, max_bytes=audit.spool_bytes, queries=audit.queries, ae_title=title)
    except OSError as error:
        remedy = "; with [audit] on, root and the owner of that folder do this, whom sudo names in the trail"
        told = f"cannot use the folder of audit messages {folder}: {system_words(error)}"
        raise MinipacsError(told + (remedy if isinstance(error, PermissionError) else "")) from error
