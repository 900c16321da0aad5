"""A storage SCU on raw bytes, so that what is sent is known to the byte."""

from pydicom.dataset import Dataset

from tests.support.objects import encode
from tests.support.wire import CT, EXPLICIT, Response, Wire, context, context_results, message, store_rq


class Sender(Wire):
    """An association with one presentation context for each pair of SOP class and transfer syntax."""

    def __init__(self, port: int, *pairs: tuple[str, str], **arguments: object):
        super().__init__(port)
        self.context_ids = {pair: 2 * i + 1 for i, pair in enumerate(pairs or [(CT, EXPLICIT)])}
        proposed = [context(i, *pair) for pair, i in self.context_ids.items()]
        self.results = context_results(self.accepted(*proposed, **arguments))
        self.message_id = 0

    def store(self, ds: Dataset, transfer_syntax_uid: str = EXPLICIT, *, more: bytes = b"") -> Response:
        """Store a synthetic object."""
        data = encode(ds, transfer_syntax_uid)
        return self.store_bytes(data, ds.SOPClassUID, ds.SOPInstanceUID, transfer_syntax_uid, more=more)

    def store_bytes(
        self,
        data: bytes,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str = EXPLICIT,
        *,
        more: bytes = b"",
    ) -> Response:
        """Store a data set as it is; `more` are command elements above (0000,1000)."""
        self.message_id += 1
        context_id = self.context_ids[sop_class_uid, transfer_syntax_uid]
        command_set = store_rq(sop_class_uid, sop_instance_uid, self.message_id, more=more)
        self.send(message(context_id, command_set, data))
        return self.response()
