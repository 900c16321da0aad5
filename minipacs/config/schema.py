"""THE table of settings: each field of a section below is one.

Its name is the key; `setting` gives its default, what is allowed and what it does. Reading, checking, the sample file,
`minipacs check --show` and the manual's table all come from these fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from minipacs.config import kinds
from minipacs.config.kinds import MAX_KEEP_DAYS, SQLITE_PREFIX
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
from minipacs.config.settings import setting
from minipacs.net.wire.addresses import is_loopback

Operation = Literal["echo", "store", "find", "retrieve", "worklist", "mpps", "commit"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
WebRight = Literal["read", "store", "delete", "admin"]
WEB_RIGHTS: tuple[WebRight, ...] = get_args(WebRight)
INDEX_FILE_NAME = "index.db"
USERS_FILE_NAME = "users"
AUDIT_FOLDER_NAME = "audit"
MIN_SPOOL_BYTES = 1 << 20
_SYSLOG_PORTS = {"udp": 514, "tls": 6514}
"""RFC 5426 and RFC 5425."""
MAX_ADDRESSES = 16
MAX_ASSOCIATIONS = 10_000
MAX_WORKERS = 64
MAX_SOP_CLASSES = 1000
MAX_EXTENDED_KEYS = 100
MAX_MATCHES = 1_000_000_000
MAX_PREFERRED_SYNTAXES = 16
MAX_PROXIES = 64
MAX_ORIGINS = 64
MIN_PDU_BYTES = 4096
MAX_PDU_BYTES = (1 << 32) - 1
"""The Maximum Length item is 32 bits wide (PS3.8 D.1.1)."""


@dataclass(frozen=True, slots=True)
class AeConfig:
    """The Application Entity: how others call this archive."""

    title: str = setting("MINIPACS", kinds.AE_TITLE, "Title of this archive.")
    bind: tuple[str, ...] = setting(
        "127.0.0.1",
        kinds.one_or_more(kinds.ADDRESS, MAX_ADDRESSES),
        'Where to listen; "0.0.0.0" and "::" stand for every interface.',
    )
    port: int = setting(11112, kinds.ANY_PORT, "TCP port; 0 takes any free one and shows it in the ready line.")
    max_associations: int = setting(
        200, kinds.whole(1, MAX_ASSOCIATIONS), "Associations open at once; more are rejected as transient (2/3/2)."
    )
    max_pdu_bytes: int = setting(
        262144,
        kinds.either(0, kinds.whole(MIN_PDU_BYTES, MAX_PDU_BYTES)),
        "Largest PDU announced to peers; 0 sets no limit.",
    )
    workers: int = setting(0, kinds.whole(0, MAX_WORKERS), "Processes that share the port; 0 means one for each core.")
    plain: bool = setting(True, kinds.BOOLEAN, "Listen without encryption; false leaves the listener of [tls] alone.")
    check_called_title: bool = setting(
        False, kinds.BOOLEAN, "Reject calls to a title other than ours (1/1/7), instead of answering to any."
    )


@dataclass(frozen=True, slots=True)
class TimeoutsConfig:
    """How long a peer is waited for, in seconds."""

    acse: float = setting(
        30, kinds.SECONDS, "For a request, an answer or the end of the connection while associations begin and end."
    )
    dimse: float = setting(60, kinds.SECONDS, "For the next bytes of a message, or a response to one of ours.")
    idle: float = setting(600, kinds.SECONDS, "For the next request on an open association.")
    connect: float = setting(10, kinds.SECONDS, "For the connection to a peer that is called.")
    drain: float = setting(30, kinds.SECONDS, "For open associations to end, once the archive has been told to.")


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """The files, and what is stored."""

    path: Path = setting(
        "./var",
        kinds.PATH,
        "Folder of the archive: holds objects/, incoming/, quarantine/ and, by default, the index. Relative to the "
        "configuration file, else to the current folder.",
        sample="/var/lib/minipacs",
    )
    sync: Literal["always", "batch"] = setting(
        "always",
        kinds.choice("always", "batch"),
        '"always": what was answered with Success survives kill -9 and power loss; "batch": kill -9, and power loss '
        "save for the last second.",
    )
    duplicates: Literal["replace", "keep", "reject"] = setting(
        "replace",
        kinds.choice("replace", "keep", "reject"),
        'Same SOP Instance UID, other bytes: "replace" makes the new one current, "keep" leaves the first, "reject" '
        "fails the C-STORE. A file that gives way goes to quarantine/.",
    )
    min_free_bytes: int = setting(1 << 30, kinds.SIZE, "Free space to leave: below it nothing is stored (A700).")
    max_instance_bytes: int = setting(0, kinds.SIZE, "Largest object stored (beyond it: C006); 0 sets no limit.")
    compress: Literal["none", "jpeg2000-lossless"] = setting(
        "none",
        kinds.choice("none", "jpeg2000-lossless"),
        '"jpeg2000-lossless": uncompressed images are compressed in the background once they are stored, also those '
        "that were stored before. Each is compared, in every element and every pixel, before it takes the place of "
        "what was received.",
    )
    sop_classes: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.UID, MAX_SOP_CLASSES),
        "Further storage SOP classes to accept, such as private ones. Their objects must belong to a study.",
    )


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """The database of what is stored."""

    url: str = setting(
        "",
        kinds.either("", kinds.SQLITE_URL),
        f'Empty: the SQLite file {INDEX_FILE_NAME} in storage.path. "{SQLITE_PREFIX}index.db" is relative to the '
        f'configuration file, "{SQLITE_PREFIX}/srv/index.db" absolute.',
    )
    keys: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.EXTENDED_KEY, MAX_EXTENDED_KEYS),
        "Further attributes to index, match and return in C-FIND. For what is stored already, run `minipacs reindex`.",
    )


@dataclass(frozen=True, slots=True)
class QueryConfig:
    """How C-FIND answers."""

    max_matches: int = setting(
        0,
        kinds.whole(0, MAX_MATCHES),
        "Most matches of one C-FIND: more are refused with A700, before the first answer; 0 sets no limit.",
    )
    relational: Literal["always", "negotiated"] = setting(
        "always",
        kinds.choice("always", "negotiated"),
        '"always": unique keys above the level may be missing, lists or with wild cards; "negotiated": only where '
        "relational queries were negotiated, else A900.",
    )
    match_unknown: bool = setting(
        False, kinds.BOOLEAN, "Let stored attributes without a value match any key, as PS3.4 C.2.2.1.2 has it."
    )


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Who may call."""

    policy: Literal["", "open", "peers"] = setting(
        "",
        kinds.choice("", "open", "peers"),
        '"open": everyone; "peers": each [[peer]]. Empty: "open" while ae.bind is loopback only, else "peers".',
    )
    identity: Literal["ignore", "check", "require"] = setting(
        "ignore",
        kinds.choice("ignore", "check", "require"),
        'User identity of associations: "ignore" looks at none; with "check" a name and passcode given have to '
        'be right; with "require" they have to be given. A user may do no more than the peer.',
    )
    users: str = setting(
        "",
        kinds.either("", kinds.FILE),
        "File of users, which `minipacs passwd` writes. Relative to the configuration file. Empty: users in "
        "storage.path.",
    )


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """A known remote AE, written once for each: a C-MOVE destination, and who may call under "peers"."""

    title: str = setting(None, kinds.AE_TITLE, "Its AE title: unique.", sample="WORKSTATION")
    host: str = setting(
        "",
        kinds.either("", kinds.HOST),
        'Where it is, and under "peers" has to call from. Empty: from anywhere. Empty or a network: no move '
        "destination.",
        sample="10.0.0.12",
    )
    port: int = setting(104, kinds.PORT, "TCP port on which it is called.")
    allow: tuple[Operation, ...] = setting(
        list(OPERATIONS), kinds.each(kinds.choice(*OPERATIONS), len(OPERATIONS)), "What it may ask for."
    )
    charset: str = setting("ISO_IR 100", kinds.CHARSET, "Assumed for its objects that name none.")
    max_associations: int = setting(
        0, kinds.whole(0, MAX_ASSOCIATIONS), "Its associations open at once; 0 sets no limit of its own."
    )
    transfer_syntaxes: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.TRANSFER_SYNTAX, MAX_PREFERRED_SYNTAXES),
        "Objects are sent to it in the first of these that it accepts and they can be had in, else as stored, else "
        "uncompressed.",
    )
    tls: bool = setting(False, kinds.BOOLEAN, "It is called with TLS, and has to call with it.")
    certificate: str = setting(
        "",
        kinds.either("", kinds.CERTIFICATE),
        "How the certificate that it shows is named, or its fingerprint; it has to call with TLS then. Empty: any that "
        "tls.ca signed.",
    )

    @property
    def destination(self) -> tuple[str, int] | None:
        """Where it is called: host and port, or None if it cannot be."""
        return (self.host, self.port) if self.host and "/" not in self.host else None


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS: a second, encrypted listener, off without a certificate, and calls to peers. Files are read at a reload."""

    port: int = setting(2762, kinds.ANY_PORT, "TCP port of the encrypted listener, on ae.bind.")
    certificate: str = setting("", kinds.either("", kinds.FILE), "PEM: our certificate, then its chain.")
    key: str = setting("", kinds.either("", kinds.FILE), "PEM: its key, without a password.")
    ca: str = setting("", kinds.either("", kinds.FILE), "PEM: who may have signed the certificates of peers.")
    crl: str = setting("", kinds.either("", kinds.FILE), "PEM: certificates that are no longer good.")
    minimum: Literal["1.2", "1.3"] = setting("1.2", kinds.choice("1.2", "1.3"), "Lowest version of TLS.")
    require_client_certificate: bool = setting(
        True, kinds.BOOLEAN, "Refuse callers that show no certificate signed by one of tls.ca."
    )


@dataclass(frozen=True, slots=True)
class WorklistConfig:
    """Where the worklist comes from, beside `minipacs worklist`."""

    folder: str = setting(
        "",
        kinds.either("", kinds.text("the path of a folder, in printable characters", lambda path: path.isprintable())),
        "Also serve the .wl files of this folder, and of the folders in it, as dcmtk's wlmscpfs does. Relative to the "
        "configuration file. Empty: none.",
    )


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The HTTP server for Prometheus and health checks: /metrics, /healthz, /readyz."""

    bind: str = setting("127.0.0.1", kinds.either("", kinds.ADDRESS), "Where to listen; empty turns it off.")
    port: int = setting(11113, kinds.ANY_PORT, "TCP port; 0 takes any free one and shows it in the ready line.")


@dataclass(frozen=True, slots=True)
class WebConfig:
    """DICOMweb over HTTP; needs minipacs[web]."""

    bind: str = setting("127.0.0.1", kinds.ADDRESS, "Where to listen.")
    port: int = setting(0, kinds.ANY_PORT, "TCP port; 0 turns it off. 8042 is what viewers know.")
    workers: int = setting(
        0, kinds.whole(0, MAX_WORKERS), "Processes that serve it; 0 means one for each two cores, at least one."
    )
    url: str = setting(
        "", kinds.either("", kinds.URL), "Address that clients reach it at, if it is not what their requests say."
    )
    tls: bool = setting(False, kinds.BOOLEAN, "Speak HTTPS, with the certificate of [tls]; it is read at a reload.")
    behind_proxy: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.NETWORK, MAX_PROXIES),
        "Addresses or networks of proxies whose X-Forwarded-For, -Proto, -Host, -Port and -Prefix count. Without TLS, "
        "only they and this machine are answered.",
    )
    anonymous: tuple[WebRight, ...] = setting(
        ["read"],
        kinds.each(kinds.choice(*WEB_RIGHTS), len(WEB_RIGHTS)),
        "Rights without credentials, for this machine's own clients; only while it listens on loopback alone.",
    )
    origins: tuple[str, ...] = setting(
        [], kinds.each(kinds.URL, MAX_ORIGINS), "Pages of other sites that may ask from within a browser (CORS)."
    )
    max_results: int = setting(
        0, kinds.whole(0, MAX_MATCHES), "Results of one search that names no limit; 0 means no limit."
    )
    page: bool = setting(True, kinds.BOOLEAN, "Serve the page at /: it needs no credentials, what it shows does.")

    @property
    def is_loopback(self) -> bool:
        """Whether it listens to this machine alone."""
        return is_loopback(self.bind)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", kinds.choice("debug", "info", "warning", "error"), "The least severe lines written."
    )
    format: Literal["text", "json"] = setting(
        "text", kinds.choice("text", "json"), "Lines for people, or a JSON object on each line."
    )
    identifiers: bool = setting(
        False,
        kinds.BOOLEAN,
        "Let patient attributes appear in the log, at debug level: what queries ask for, whose objects come.",
    )


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """The audit trail: who did what to whose data (PS3.15 A.5). Off while neither `file` nor `syslog` is set."""

    file: str = setting(
        "",
        kinds.either("", kinds.FILE),
        "File with a message on each line, a new one each day. Relative to the configuration file.",
    )
    syslog: str = setting(
        "",
        kinds.either("", kinds.COLLECTOR),
        '"udp://HOST:514" or "tls://HOST:6514": a collector of syslog. TLS uses the certificate and the CAs of [tls]; '
        "UDP loses what the network loses.",
    )
    source: str = setting(
        "", kinds.either("", kinds.NAME), "Audit Source ID: how this archive is named in the trail. Empty: ae.title."
    )
    site: str = setting("", kinds.either("", kinds.NAME), "Audit Enterprise Site ID.")
    queries: bool = setting(True, kinds.BOOLEAN, "Tell of queries too, with what they ask for.")
    keep_days: int = setting(
        0, kinds.whole(0, MAX_KEEP_DAYS), "Files of earlier days than this go; 0 keeps them for ever."
    )
    spool_bytes: int = setting(
        1 << 28,
        kinds.whole(MIN_SPOOL_BYTES, kinds.MAX_SIZE_BYTES, f"a whole number of bytes, at least {MIN_SPOOL_BYTES}"),
        "What is kept, in audit/ of storage.path, for a file or collector that is away; beyond it messages are lost, "
        "which the trail tells.",
    )

    @property
    def is_on(self) -> bool:
        """Whether there is anywhere for the trail to go."""
        return bool(self.file or self.syslog)

    @property
    def collector(self) -> tuple[str, str, int] | None:
        """The scheme, host and port of the collector."""
        if not self.syslog:
            return None
        found = urlsplit(self.syslog)
        return found.scheme, found.hostname or "", found.port or _SYSLOG_PORTS[found.scheme]


SECTIONS: Mapping[str, type[Any]] = {
    "ae": AeConfig,
    "timeouts": TimeoutsConfig,
    "storage": StorageConfig,
    "index": IndexConfig,
    "query": QueryConfig,
    "access": AccessConfig,
    "peer": PeerConfig,
    "tls": TlsConfig,
    "worklist": WorklistConfig,
    "metrics": MetricsConfig,
    "web": WebConfig,
    "hl7": Hl7Config,
    "station": StationConfig,
    "feed": FeedConfig,
    "study": StudyConfig,
    "route": RouteConfig,
    "queue": QueueConfig,
    "retention": RetentionConfig,
    "webhook": WebhookConfig,
    "dicomweb": DicomwebConfig,
    "audit": AuditConfig,
    "log": LogConfig,
}

REPEATED: Mapping[str, str] = {
    "peer": "peers",
    "station": "stations",
    "route": "routes",
    "webhook": "webhooks",
    "dicomweb": "dicomweb",
    "retention": "retention",
}
"""Sections that are written once for each thing that they describe, and the field of Config that has them."""
