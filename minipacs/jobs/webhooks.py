"""Webhooks: what happens in the archive is posted to URLs, in its order, until it was taken.

A body is lines of JSON, one for each event, with its number in the feed of changes, and no more of anybody than UIDs.
"""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from minipacs.archive.archive import Archive
from minipacs.errors import Failure, Kind, MinipacsError
from minipacs.index.engine.connection import Connection
from minipacs.index.ledger.changes import Completion, Event
from minipacs.index.ledger.open_studies import Open, brings
from minipacs.index.ledger.queue import Item
from minipacs.index.ledger.webhooks import LEASE_S, Span, span_of
from minipacs.jobs.deliveries import Deliveries
from minipacs.jobs.routing.outcomes import Retries
from minipacs.scu.http import SUCCESS, Site

logger = logging.getLogger(__name__)

Told = Literal["stored", "complete", "corrected", "deleted", "dead"]
EVENTS: Mapping[Told, Callable[[Event], bool]] = MappingProxyType(
    {
        "stored": brings,
        "complete": lambda event: event.action == "complete",
        "corrected": lambda event: event.action == "update" and event.reason in ("corrected", "merged"),
        "deleted": lambda event: event.action == "delete" and event.reason != "moved",
        "dead": lambda event: event.action == "dead",
    }
)
"""THE table of what can be told: by its name, which events of the feed it is."""
ROUTE = "webhook"
"""Stands for the route in metrics, and in the listing of the queue."""
MAX_LINES = 200
"""Of one body."""
MAX_READ = 1000
"""Events that are looked at for one body."""
MAX_SECRET_BYTES = 4096
SIGNATURE = "X-Minipacs-Signature"
_REFUSES_CONTENT = frozenset({400, 410, 413, 415, 422})
"""Answers that will be the same next time; any other failure is tried again."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who is told `events`; `secret_file` has the key of the signature, "" for none."""

    site: Site
    events: Collection[Told]
    secret_file: str

    def line(self, event: Event) -> dict[str, object] | None:
        """Return what is told of an event, None for nothing."""
        name = next((name for name in self.events if EVENTS[name](event)), None)
        if name is None:
            return None
        at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
        line = {"seq": event.seq, "event": name, "at": at}
        uids = {"study": event.study_uid, "series": event.series_uid, "instance": event.sop_instance_uid}
        told = {"peer": event.source, "route": event.reason} if name == "dead" else {"reason": event.reason}
        return {**line, **{key: value for key, value in {**uids, **told}.items() if value}}


class WebhookWatch:
    """Notes what is to be told; a follower of `StudyWatch`."""

    def __init__(self, archive: Archive, webhooks: Sequence[Webhook]) -> None:
        self._webhooks = archive.index.webhooks
        self._hooks = webhooks

    def came(self, events: Sequence[Event]) -> Callable[[Connection], None]:
        """Have told what happened."""
        span = Span(events[0].seq - 1, events[-1].seq)
        urls = [hook.site.url for hook in self._hooks if any(map(hook.line, events))]

        def work(connection: Connection) -> None:
            for url in urls:
                self._webhooks.put(connection, url, span)

        return work

    def complete(self, study: Open, reason: Completion) -> Callable[[Connection], None]:
        """Do nothing: it is an event, too."""
        return lambda connection: None


class WebhookSender:
    """Tells what is to be told. `count` hears how many events went to whom, and whether they were taken."""

    def __init__(
        self,
        archive: Archive,
        webhooks: Sequence[Webhook],
        retries: Retries,
        count: Callable[[str, str, bool, int], None],
        stopping: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._index = archive.index
        self._hooks = {hook.site.url: hook for hook in webhooks}
        self._retries = retries
        self._count = count
        self._stopping = stopping
        self.work = Deliveries(archive.index.webhooks.queue, self._tell, LEASE_S, stopping, wake).work

    def _tell(self, item: Item) -> None:
        hook = self._hooks.get(item.destination)
        if hook is None:
            self._give_up(item, span_of(item), "no [[webhook]] has this url any more")
        elif item.waited_s >= self._retries.give_up_s:
            self._give_up(item, span_of(item), item.last_fault)
        else:
            left: Item | None = item
            while left is not None and not self._stopping():
                left = self._tell_some(hook, left)
            if left is not None:
                self._give_back(left)

    def _tell_some(self, hook: Webhook, item: Item) -> Item | None:
        """Send one body; returns the item with what is left to be told, None if nothing is, or not now."""
        lines, upto = self._lines(hook, span_of(item))
        if not lines:
            return self._index.webhooks.advance(item, upto)
        fault, is_refused = _posted(hook, lines)
        self._count(ROUTE, hook.site.label, not fault, len(lines))
        if not fault:
            left = self._index.webhooks.advance(item, upto)
            fields = {"item": item.id, "peer": hook.site.label, "events": len(lines)}
            logger.debug("webhook told", extra={"fields": fields})
            return None if left is None else left._replace(attempts=0, waited_s=0.0)
        if is_refused:
            return self._give_up(item, Span(span_of(item).after, upto), fault)
        self._postpone(item, hook, fault)
        return None

    def _lines(self, hook: Webhook, span: Span) -> tuple[list[dict[str, object]], int]:
        """Read what the next body has, and the number up to which that is all."""
        events = [event for event in self._read(span.after) if event.seq <= span.upto]
        lines: list[dict[str, object]] = []
        for event in events:
            line = hook.line(event)
            if line is not None:
                lines.append(line)
            if len(lines) == MAX_LINES:
                return lines, event.seq
        return lines, events[-1].seq if len(events) == MAX_READ else span.upto

    def _read(self, after: int) -> list[Event]:
        try:
            return self._index.changes(after, MAX_READ)
        except Failure as failure:
            if failure.kind is not Kind.NOT_FOUND:
                raise
        forgotten = self._index.forgotten_changes()
        fields = {"from": after, "to": forgotten}
        logger.error("changes were forgotten before a webhook was told", extra={"fields": fields})
        return self._index.changes(forgotten, MAX_READ)

    def _give_back(self, item: Item) -> None:
        queue = self._index.webhooks.queue
        queue.change(lambda connection: queue.give_back(connection, item))

    def _postpone(self, item: Item, hook: Webhook, fault: str) -> None:
        queue, delay_s = self._index.webhooks.queue, self._retries.delay_s(item.attempts)
        queue.change(lambda connection: queue.postpone(connection, item, delay_s, fault))
        fields = {"peer": hook.site.label, "reason": fault, "attempt": item.attempts + 1, "retry_s": round(delay_s, 1)}
        logger.warning("webhook not told yet", extra={"fields": fields})

    def _give_up(self, item: Item, span: Span, fault: str) -> Item | None:
        left = self._index.webhooks.give_up(item, span, fault)
        hook = self._hooks.get(item.destination)
        fields = {"item": item.id, "peer": hook.site.label if hook else None, "from": span.after, "to": span.upto}
        logger.error("webhook not told", extra={"fields": {**fields, "reason": fault}})
        return left


def secret_of(path: str) -> bytes:
    """Read the key of signatures: the file without its last line break. Raises MinipacsError."""
    try:
        with Path(path).open("rb") as file:
            found = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise MinipacsError(f"secret_file {path}: cannot be read: {error.strerror}") from error
    secret = found.removesuffix(b"\n").removesuffix(b"\r")
    if not secret or len(found) > MAX_SECRET_BYTES:
        raise MinipacsError(f"secret_file {path}: must have 1 to {MAX_SECRET_BYTES} bytes")
    return secret


def _posted(hook: Webhook, lines: Sequence[Mapping[str, object]]) -> tuple[str, bool]:
    """Send a body; returns why it was not taken, "" if it was, and whether that will be so the next time."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    headers = {"Content-Type": "application/x-ndjson"}
    try:
        if hook.secret_file:
            digest = hmac.new(secret_of(hook.secret_file), body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        answer = hook.site.post(headers, body)
    except MinipacsError as error:
        return str(error), False
    if answer.status in SUCCESS:
        return "", False
    return f"answered with {answer.status}", answer.status in _REFUSES_CONTENT
