"""What the audit trail is told of requests over HTTP (PS3.15 A.5.3): what went to whom is summed by client."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from minipacs.archive.auditing import patient, tell_procedure, tell_scheduled
from minipacs.archive.ports import Catalogue
from minipacs.audit import events
from minipacs.audit.audit import Audit, Transfers, person
from minipacs.audit.message import Action, Participant, QueryObject
from minipacs.dicom.data_set.values import Values
from minipacs.index import StoredInstance
from minipacs.net.alerts import Alerts
from minipacs.net.explanation import Explanation
from minipacs.web.access import Caller

MAX_CLIENTS = 256
"""Clients of which there are sums; for one more, what went to the one that asked longest ago is told."""


class Trail:
    """Tells of requests. Safe to use from any thread; `tick` is to be called now and then."""

    def __init__(self, audit: Audit, index: Catalogue) -> None:
        self.audit = audit
        self.alerts = Alerts(audit)
        self._index = index
        self._lock = threading.Lock()
        self._going: OrderedDict[tuple[str, str], Transfers] = OrderedDict()

    def retrieved(self, caller: Caller, instances: Sequence[StoredInstance]) -> None:
        """Tell that instances, or parts of them, went to a client."""
        if not self.audit.is_on or not instances:
            return
        subjects = self._index.subjects([instance.sop_instance_uid for instance in instances])
        transfers = self._to(caller)
        for instance in instances:
            subject = subjects.get(instance.sop_instance_uid)
            if subject is not None:
                transfers.add(
                    subject.study_instance_uid,
                    patient(subject.patient_id, subject.issuer, subject.patient_name),
                    instance.sop_class_uid,
                    action=Action.READ,
                    accession_number=subject.accession_number,
                )

    def coming(self, caller: Caller) -> Transfers:
        """Begin to sum up what a client stores; close it."""
        return self.audit.transfers(client(caller), self.audit.node)

    def searched(self, caller: Caller, url: str, query: bytes) -> None:
        """Tell of a search."""
        if self.audit.tells_queries:
            asked = QueryObject(query, url=unquote(url))
            self.audit.tell(events.query(client(caller), self.audit.node, asked))

    def performed(self, caller: Caller, sop_instance_uid: str, values: Values, action: Action) -> None:
        """Tell what became of a performed procedure step."""
        tell_procedure(self.audit, client(caller), sop_instance_uid, values, action)

    def scheduled(self, caller: Caller, steps: Iterable[Values], action: Action) -> None:
        """Tell that worklist items came, changed or went."""
        tell_scheduled(self.audit, client(caller), steps, action)

    def signed(self, caller: Caller, *, login: bool) -> None:
        """Tell that a user has signed in or out."""
        if self.audit.is_on:
            who = person(caller.name, caller.address, address=caller.address)
            self.audit.tell(events.user_authentication(who, login=login, node=self.audit.node))

    def refused(self, name: str, address: str, reason: str) -> None:
        """Tell of credentials that were not good, and who they claim to be, "" if they do not say."""
        self.alerts.user_refused(Explanation("", address, user=name), reason)

    def tick(self) -> None:
        """Tell what is due."""
        self.audit.tick()
        self.alerts.tell()

    def _to(self, caller: Caller) -> Transfers:
        key = caller.name, caller.address
        with self._lock:
            found = self._going.pop(key, None) or self.audit.transfers(self.audit.node, client(caller))
            self._going[key] = found
            oldest = self._going.popitem(last=False)[1] if len(self._going) > MAX_CLIENTS else None
        if oldest is not None:
            oldest.close()
        return found


def client(caller: Caller) -> Participant:
    """Name whoever asks over HTTP."""
    user_id = f"{caller.name}@{caller.address}" if caller.name else caller.address
    return Participant(user_id, is_requestor=True, user_name=caller.name, address=caller.address)
