"""The configuration as a whole: all sections, and what follows from them together."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minipacs.config.kinds import SQLITE_PREFIX
from minipacs.config.lifecycle import (
    DicomwebConfig,
    FeedConfig,
    Hl7Config,
    QueueConfig,
    RetentionConfig,
    RouteConfig,
    StationConfig,
    StudyConfig,
    WebhookConfig,
)
from minipacs.config.schema import (
    AUDIT_FOLDER_NAME,
    INDEX_FILE_NAME,
    USERS_FILE_NAME,
    AccessConfig,
    AeConfig,
    AuditConfig,
    IndexConfig,
    LogConfig,
    MetricsConfig,
    PeerConfig,
    QueryConfig,
    StorageConfig,
    TimeoutsConfig,
    TlsConfig,
    WebConfig,
    WorklistConfig,
)
from minipacs.net.wire.addresses import is_loopback


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration: paths are absolute; `source` is the file it was read from, if any."""

    ae: AeConfig
    timeouts: TimeoutsConfig
    storage: StorageConfig
    index: IndexConfig
    query: QueryConfig
    access: AccessConfig
    peers: tuple[PeerConfig, ...]
    tls: TlsConfig
    worklist: WorklistConfig
    metrics: MetricsConfig
    web: WebConfig
    hl7: Hl7Config
    stations: tuple[StationConfig, ...]
    feed: FeedConfig
    study: StudyConfig
    routes: tuple[RouteConfig, ...]
    queue: QueueConfig
    retention: tuple[RetentionConfig, ...]
    webhooks: tuple[WebhookConfig, ...]
    dicomweb: tuple[DicomwebConfig, ...]
    audit: AuditConfig
    log: LogConfig
    source: Path | None

    def policy(self, addresses: Iterable[str] = ()) -> Literal["open", "peers"]:
        """Return the access policy in force on sockets at `addresses`, else where `ae.bind` has them."""
        loopback = all(map(is_loopback, addresses or self.ae.bind))
        return self.access.policy or ("open" if loopback else "peers")

    @property
    def users_path(self) -> Path:
        """The file of users."""
        return Path(self.access.users) if self.access.users else self.storage.path / USERS_FILE_NAME

    @property
    def audit_folder(self) -> Path:
        """Where audit messages wait until they are delivered."""
        return self.storage.path / AUDIT_FOLDER_NAME

    @property
    def index_path(self) -> Path:
        """The file of the SQLite index."""
        url = self.index.url
        return Path(url.removeprefix(SQLITE_PREFIX)) if url else self.storage.path / INDEX_FILE_NAME
