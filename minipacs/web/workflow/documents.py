"""Small data sets as JSON, both ways: what requests bring, and what is answered (PS3.18 8.6, F)."""

import asyncio
import json
import threading

from starlette.responses import Response

from minipacs.dicom.data_set import json_values
from minipacs.dicom.data_set.values import MutableValues, Values
from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.text.storable import storable
from minipacs.web.answers import Refusal
from minipacs.web.dicomweb.metadata import JSON, PLAIN_JSON
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import parse_media_type
from minipacs.web.representations.json_model import model_of_values

MAX_DOCUMENT_BYTES = 4 << 20
"""Some 25 000 references to objects."""

_TYPES = (JSON.media_type, PLAIN_JSON.media_type)

_parsing = threading.Lock()
"""One document of a process is taken apart at a time: it takes many times its size."""


async def read_data_set(ask: Ask) -> MutableValues:
    """Read the data set that a request brings, its text as any database keeps it. Raises Refusal 400, 413, 415."""
    media_type, _ = parse_media_type(ask.headers.get("content-type", ""))
    if media_type not in _TYPES:
        raise Refusal(415, f"a data set comes as {' or '.join(_TYPES)}")
    return await asyncio.to_thread(_parse, await ask.whole_body(MAX_DOCUMENT_BYTES))


def answer(ask: Ask, values: Values, status: int = 200) -> Response:
    """Answer with one data set. Raises Refusal 406."""
    choice = ask.choose([JSON, PLAIN_JSON])
    document = json.dumps([model_of_values(values)], ensure_ascii=False, separators=(",", ":"))
    return Response(document.encode("utf-8", "replace"), status, media_type=choice.offer.media_type)


def _parse(body: bytes) -> MutableValues:
    with _parsing:
        try:
            document = json.loads(body)
            if isinstance(document, list) and len(document) == 1:
                document = document[0]
            return _kept(json_values.parse(document))
        except json.JSONDecodeError as error:
            raise Refusal(400, f"the body is no JSON: {error.msg} at {error.pos}") from None
        except RecursionError:
            raise Refusal(400, "the body nests too deep") from None
        except ValueError as error:
            raise Refusal(400, f"the body is no data set: {storable(str(error))}") from None


def _kept(values: Values) -> MutableValues:
    """Leave the character set out: the text is Unicode."""
    return {
        tag: storable(value) if isinstance(value, str) else tuple(map(_kept, value))
        for tag, value in values.items()
        if tag != SPECIFIC_CHARACTER_SET
    }
