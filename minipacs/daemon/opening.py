"""From a configuration to an archive that is open: all that most commands need."""

from collections.abc import Callable

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.config import Config
from minipacs.dicom.tables.keys import KeyTable, extended_key


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
