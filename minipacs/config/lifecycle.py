"""Settings of what stands between an order and the last copy: HL7, stations, the feed of changes, routes, retention."""

import ipaddress
from dataclasses import dataclass
from typing import Literal

from minipacs.config import kinds
from minipacs.config.kinds import MAX_KEEP_DAYS
from minipacs.config.settings import setting

MAX_SENDERS = 64
MAX_DESTINATIONS = 32
MAX_KEYS = 32
MAX_PRIORS = 100
MIN_RATE = 1024
MAX_KEEP_YEARS = 200
MAX_A_DAY = 100_000
MAX_EVENTS = 8


@dataclass(frozen=True, slots=True)
class Hl7Config:
    """Orders from a RIS, over MLLP, become the worklist; needs minipacs[hl7]."""

    bind: str = setting("127.0.0.1", kinds.ADDRESS, "Where to listen.")
    port: int = setting(0, kinds.ANY_PORT, "TCP port; 0 turns it off. 2575 is the usual one.")
    tls: bool = setting(
        False, kinds.BOOLEAN, "Speak MLLPS, with the certificate of [tls], which says whether senders have to show one."
    )
    senders: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.SENDER, MAX_SENDERS),
        "Who may send, by MSH-3 and MSH-4. Empty: any, from wherever it may come.",
    )
    hosts: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.NETWORK, MAX_SENDERS),
        "Addresses or networks that may send. Empty: any; only while it listens on loopback alone.",
    )
    charset: str = setting("8859/1", kinds.HL7_CHARSET, "Assumed for messages that name no character set (MSH-18).")
    authority: str = setting(
        "",
        kinds.either("", kinds.NAME),
        "Assigning authority (PID-3.4) whose identifier is the Patient ID. Empty: the first identifier.",
    )
    keep_days: int = setting(
        30, kinds.whole(1, MAX_KEEP_DAYS), "How long messages are kept for `minipacs hl7 list`, `show` and `replay`."
    )

    @property
    def is_loopback(self) -> bool:
        """Whether it listens to this machine alone."""
        return ipaddress.ip_address(self.bind).is_loopback


@dataclass(frozen=True, slots=True)
class StationConfig:
    """Whose worklist an order goes to that names no station: the first that fits."""

    title: str = setting(None, kinds.AE_TITLE, "Its AE title.", sample="CT1")
    modality: str = setting("", kinds.NAME, "Modality of orders for it (OBR-24, IPC-5). Empty: any.", sample="CT")
    location: str = setting(
        "", kinds.NAME, "Where those come from (PV1-3, IPC-8), with wild cards * and ?. Empty: anywhere."
    )


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """The feed of changes: `minipacs changes`, and /changefeed over HTTP."""

    keep_days: int = setting(
        0, kinds.whole(0, MAX_KEEP_DAYS), "How long changes are told; 0 keeps them for ever. Each takes some 200 bytes."
    )


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """When a study counts as complete."""

    quiet_s: float = setting(
        60,
        kinds.SECONDS,
        "When no object came for so long and its senders have no association open, unless performed steps, a storage "
        "commitment or the counts that its objects give tell it before.",
    )


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """A rule that sends what comes on to peers; `minipacs routes test` tells beforehand what goes."""

    name: str = setting(None, kinds.RULE_NAME, "Its name: unique.", sample="ct-night")
    to: tuple[str, ...] = setting(
        None,
        kinds.one_or_more(kinds.DESTINATION, MAX_DESTINATIONS),
        'Titles of [[peer]] with a host, and "stow:NAME" of a [[dicomweb]].',
        sample=["WORKSTATION"],
    )
    on: Literal["stored", "complete"] = setting(
        "complete",
        kinds.choice("stored", "complete"),
        '"complete": when a study is complete, what comes late when it is again; "stored": each object as it comes.',
    )
    match: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.KEY_AND_VALUE, MAX_KEYS),
        "What goes: objects that match all of these, as `minipacs send` would find them. Empty: all.",
        sample=["ModalitiesInStudy=CT"],
    )
    from_: tuple[str, ...] = setting(
        [], kinds.each(kinds.AE_TITLE, MAX_SENDERS), "Titles of senders whose objects go. Empty: any."
    )
    level: Literal["study", "series", "instance"] = setting(
        "study",
        kinds.choice("study", "series", "instance"),
        "What is one item of the queue: listed, held and tried again as a whole, sent over an association of its own.",
    )
    hours: str = setting(
        "", kinds.either("", kinds.HOURS), "When it sends, by the clock of this machine. Empty: always."
    )
    rate: int = setting(
        0,
        kinds.either(0, kinds.whole(MIN_RATE, kinds.MAX_SIZE_BYTES, f"bytes a second, at least {MIN_RATE}")),
        "Bytes a second at most, to each peer; 0 sets no limit.",
    )
    priors: int = setting(
        0,
        kinds.whole(0, MAX_PRIORS),
        'So many earlier studies of the patient, of a same modality, go along, whatever `match` says; with "complete".',
    )
    announce: bool = setting(
        False,
        kinds.BOOLEAN,
        "Tell peers what can be retrieved here, by Instance Availability Notification, instead of sending it.",
    )
    dry_run: bool = setting(False, kinds.BOOLEAN, "Only tell the log what would go.")


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """A rule that lets studies go whose time is over; `minipacs retention plan` tells beforehand what goes."""

    name: str = setting(None, kinds.SHORT_NAME, "Its name: unique.", sample="ten years")
    match: tuple[str, ...] = setting(
        [],
        kinds.each(kinds.KEY_AND_VALUE, MAX_KEYS),
        "Which studies, as `minipacs find --level study` finds them. Empty: all. Of several rules that a study "
        "matches, the one that keeps it longest tells.",
    )
    keep_years: int = setting(0, kinds.whole(0, MAX_KEEP_YEARS), "How long they are kept; or keep_days.", sample=10)
    keep_days: int = setting(0, kinds.whole(0, MAX_KEEP_DAYS), "How long they are kept; or keep_years.")
    since: Literal["study", "received"] = setting(
        "study",
        kinds.choice("study", "received"),
        'From when: "study", its Study Date, and without one it stays; "received", when its last object came.',
    )
    grace_days: int = setting(
        30, kinds.whole(1, MAX_KEEP_DAYS), "So long `minipacs retention restore` can have back what went."
    )
    needs_copy: tuple[str, ...] = setting(
        [], kinds.each(kinds.DESTINATION, MAX_DESTINATIONS), "Where routes must have brought all of it before."
    )
    enabled: bool = setting(
        False,
        kinds.BOOLEAN,
        "Let studies go every day; else only `minipacs retention apply` does. A new rule waits a day.",
    )
    max_a_day: int = setting(
        100, kinds.whole(1, MAX_A_DAY), "At most so many studies on a day: a wrong rule empties no archive in a night."
    )


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """What waits to be sent by routes."""

    retry_s: float = setting(60, kinds.SECONDS, "What failed is tried again after so long, then after twice as long.")
    retry_max_s: float = setting(3600, kinds.SECONDS, "At most so long is waited between two attempts.")
    give_up_h: float = setting(
        72,
        kinds.HOURS_IN_ALL,
        "After so many hours of waiting in all an item is given up; `minipacs queue retry` revives it.",
    )


@dataclass(frozen=True, slots=True)
class DicomwebConfig:
    """A server of DICOMweb that routes send to, by STOW-RS."""

    name: str = setting(None, kinds.RULE_NAME, 'Its name, unique: routes send to "stow:NAME".', sample="CLOUD")
    url: str = setting(
        None,
        kinds.WEB_URL,
        "Base of its services: objects are posted to studies below it.",
        sample="https://pacs.example.org/dicom-web",
    )
    token_file: str = setting(
        "",
        kinds.either("", kinds.FILE),
        "File with its bearer token, read anew for each request. Relative to the configuration file. Empty: none.",
    )


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Who is told over HTTP what happens: lines of JSON, in their order, until they were taken."""

    url: str = setting(None, kinds.WEB_URL, "Where they are posted to: unique.", sample="https://ris.example.org/pacs")
    events: tuple[Literal["stored", "complete", "corrected", "deleted", "dead"], ...] = setting(
        ["complete"],
        kinds.one_or_more(kinds.choice("stored", "complete", "corrected", "deleted", "dead"), MAX_EVENTS),
        'What is told: "stored", an object came; "complete", a study is complete; "corrected" and "deleted", an object '
        'was; "dead", a route gave up.',
    )
    secret_file: str = setting(
        "",
        kinds.either("", kinds.FILE),
        'File with the key of X-Minipacs-Signature, "sha256=" and the HMAC of the body. Relative to the configuration '
        "file. Empty: no signature.",
    )
