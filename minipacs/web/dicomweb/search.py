"""QIDO-RS: searches, on the same keys, matching and limits as C-FIND (PS3.18 8.3.4, 10.6)."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain

from starlette.responses import Response

from minipacs.dicom.data_set.items import from_text
from minipacs.dicom.data_set.json_values import dumps
from minipacs.dicom.matching.attribute import EMPTY_VALUE
from minipacs.dicom.tables.attributes import BY_KEYWORD, LEVELS, Attribute, Level
from minipacs.dicom.tables.dictionary import tag_of
from minipacs.dicom.tables.keys import FIRST_BLOCK, KeyTable
from minipacs.index import AVAILABILITY, TRANSFER_SYNTAX, Allowance, Order, Query
from minipacs.web.answers import Refusal
from minipacs.web.dicomweb.metadata import JSON, PLAIN_JSON, compressed
from minipacs.web.environment import MAX_LIMIT, PATH_KEYS, Ask, plain
from minipacs.web.representations.accept import Offer, accepts_gzip
from minipacs.web.representations.json_model import values_of_items, write, written_element
from minipacs.web.representations.multipart import Writer
from minipacs.web.representations.xml_model import XML, parts
from minipacs.web.streaming import streamed

MAX_COUNTED = 10_000
"""Results beyond those given that are counted for a warning."""
PIECE_BYTES = 65536

CONTROL = frozenset(
    {
        "limit",
        "offset",
        "includefield",
        "fuzzymatching",
        "emptyvaluematching",
        "multiplevaluematching",
        "orderby",
        "accept",
        "charset",
    }
)
"""Parameters that are no keys."""

_PERSON = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")

ALWAYS: Mapping[Level, Sequence[str]] = {
    "PATIENT": (
        *_PERSON,
        "IssuerOfPatientID",
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    ),
    "STUDY": (
        *_PERSON,
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "StudyDescription",
        "StudyID",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    "SERIES": (
        "SeriesInstanceUID",
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
        "NumberOfSeriesRelatedInstances",
    ),
    "IMAGE": (
        "SOPInstanceUID",
        "SOPClassUID",
        "InstanceNumber",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
    ),
}
"""What is returned unasked (PS3.18 Tables 10.6.3-3 to 10.6.3-5), and what clients miss otherwise."""

LEFT_OUT_IF_EMPTY = frozenset({"TimezoneOffsetFromUTC", "ModalitiesInStudy"})
"""The second, known but empty, breaks OHIF's list of studies."""

ONLY_RETURNED = AVAILABILITY, TRANSFER_SYNTAX
"""What is no key."""

WITHOUT_COMMAS = frozenset({"AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"})
"""Value representations whose values hold no comma (PS3.5 6.2)."""

RETRIEVE_URL, RETRIEVE_AE_TITLE, CHARACTER_SET = "00081190", "00080054", "00080005"

_TAG = re.compile(r"[0-9A-Fa-f]{8}")


@dataclass
class Search:
    """A search as it was asked for."""

    level: Level
    keys: dict[Attribute, str] = field(default_factory=dict)
    items: dict[Attribute, dict[int, str]] = field(default_factory=dict)
    included: list[Attribute] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False
    empty_value: bool = False

    def query(self, returns: Sequence[Attribute], *, match_unknown: bool) -> Query:
        """Make what the index is asked."""
        keys = [*self.keys.items(), *((a, dumps({a.tag: (item,)})) for a, item in self.items.items())]
        return Query(
            self.level,
            keys,
            returns,
            match_unknown=match_unknown,
            fuzzy=self.fuzzy,
            combined=True,
            empty_value=self.empty_value,
        )


def searching(level: Level) -> Callable[[Ask], "asyncio.Future[Response]"]:
    """Make the handler that searches one level."""

    async def search(ask: Ask) -> Response:
        choice = ask.choose([JSON, PLAIN_JSON, XML])
        asked = read(ask, level)
        returns = _returned(asked, ask)
        tell_search(ask)
        rows = _rows(ask, asked, returns)
        encode, content_type = _encoder(ask, asked, returns), choice.offer.media_type
        if choice.offer == XML:
            first = await asyncio.to_thread(next, rows, None)
            if first is None:
                return Response(status_code=204)
            writer = Writer(XML.media_type)
            pieces, content_type = parts(writer, map(encode, chain([first], rows))), writer.content_type
        else:
            pieces = _document(map(encode, rows))
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
        if accepts_gzip(ask.headers.get("accept-encoding", "")):
            pieces, headers["Content-Encoding"] = compressed(pieces), "gzip"
        return await streamed(pieces, media_type=content_type, headers=headers)

    return search  # type: ignore[return-value]


def counting(level: Level) -> Callable[[Ask], "asyncio.Future[Response]"]:
    """Make the handler that counts the matches of a search."""

    async def count(ask: Ask) -> Response:
        ask.choose([Offer("application/json")])
        asked = read(ask, level)
        query = asked.query((), match_unknown=ask.environment.match_unknown)
        tell_search(ask)
        index, allowance = ask.environment.archive.index, allowance_of(ask)
        found = await asyncio.to_thread(partial(index.count, query, MAX_LIMIT, allowance=allowance))
        return Response(json.dumps({"count": found}), media_type="application/json")

    return count  # type: ignore[return-value]


def tell_search(ask: Ask) -> None:
    """Tell the audit trail of a search."""
    query: bytes = ask.scope["query_string"]
    url = f"{ask.origin.url}{ask.scope['path']}"
    ask.environment.trail.searched(ask.caller, f"{url}?{query.decode('latin-1')}" if query else url, query)


def read(ask: Ask, level: Level) -> Search:
    """Read the parameters of a search. Raises Refusal 400."""
    asked, table = Search(level), ask.environment.archive.index.keys
    for part, keyword in PATH_KEYS.items():
        if part in ask.path:
            asked.keys[BY_KEYWORD[keyword]] = ask.path[part]
    creators = _creators(ask)
    for name, value in ask.parameters:
        if name.lower() not in CONTROL:
            _add_key(ask, asked, table, creators, name, value)
    asked.limit, asked.offset = ask.number("limit"), ask.number("offset") or 0
    asked.fuzzy, asked.empty_value = ask.switch("fuzzymatching"), ask.switch("emptyvaluematching")
    ask.switch("multiplevaluematching")  # lists match as such in any case
    _include(ask, asked, table)
    for word in filter(None, (ask.parameter("orderby") or "").split(",")):
        attribute = _attribute(table, word.removeprefix("-"))
        if attribute is None or not attribute.column or _is_below(attribute, level):
            raise Refusal(400, "orderby lists attributes of this level or above")
        asked.order.append(Order(attribute, descending=word.startswith("-")))
    return asked


def _add_key(ask: Ask, asked: Search, table: KeyTable, creators: Mapping[int, str], name: str, value: str) -> None:
    first, *path = name.split(".")
    attribute = _attribute(table, first, creators)
    if attribute is None or attribute in ONLY_RETURNED:
        if not _is_creator(first):
            ask.warnings.append("a parameter that is not known was left out")
        return
    if _is_below(attribute, asked.level) or len(path) > 1 or (bool(path) != (attribute.vr == "SQ") and value):
        ask.warnings.append(f"{attribute.keyword} is not matched here")
        return
    if path:
        inner = _tag(path[0])
        if inner is None:
            ask.warnings.append(f"an attribute within {attribute.keyword} that is not known was left out")
            return
        asked.items.setdefault(attribute, {})[inner] = key_text(value, attribute.vr)
    elif attribute in asked.keys and attribute.keyword in [PATH_KEYS[part] for part in PATH_KEYS if part in ask.path]:
        if asked.keys[attribute] != value and value:
            raise Refusal(400, f"{attribute.keyword} is in the path already")
    elif attribute in asked.keys:
        raise Refusal(400, f"{attribute.keyword} may be there once")
    elif attribute.vr != "SQ":
        asked.keys[attribute] = key_text(value, attribute.vr)
    if attribute not in asked.included:
        asked.included.append(attribute)


def key_text(value: str, vr: str) -> str:
    """Give a key as C-FIND has it: values of a list joined by backslashes.

    A comma that was escaped is one, save where no value holds any: clients escape those of lists, too.
    """
    if value == EMPTY_VALUE:
        return value
    listed = plain(value) if vr in WITHOUT_COMMAS else value
    return plain("\\".join(part.strip() if vr == "UI" else part for part in listed.split(",")))


def _include(ask: Ask, asked: Search, table: KeyTable) -> None:
    for name, value in ask.parameters:
        if name.lower() != "includefield":
            continue
        for word in filter(None, (part.strip() for part in plain(value).split(","))):
            if word.lower() == "all":
                asked.included += [a for a in table.attributes if not _is_below(a, asked.level)]
                continue
            attribute = _attribute(table, word)
            if attribute is None:
                ask.warnings.append("a field that is not known was left out")
            elif not _is_below(attribute, asked.level):  # lower levels are not returned (PS3.18 10.6.3.3.1)
                asked.included.append(attribute)


def _returned(asked: Search, ask: Ask) -> tuple[Attribute, ...]:
    """List what is returned: the attributes of the level, those above it if the path does not name them, and more."""
    above = tuple(at for at in LEVELS[: LEVELS.index(asked.level)] if _is_open(at, ask))
    usual = _usual(ask.environment.archive.index.keys, asked.level, above)
    if asked.level == "SERIES" and "study" in ask.path:  # of all series it would read every instance there is
        usual = usual | {TRANSFER_SYNTAX}
    return tuple(sorted({*usual, *asked.included}, key=lambda a: a.tag))


@lru_cache
def _usual(table: KeyTable, level: Level, above: Sequence[Level]) -> frozenset[Attribute]:
    """List what is returned unasked at a level, and of those above."""
    keywords = chain.from_iterable(ALWAYS[at] for at in (*above, level) if at != "PATIENT" or level == at)
    unique = [BY_KEYWORD["StudyInstanceUID"]] * (level != "PATIENT")
    unique += [BY_KEYWORD["SeriesInstanceUID"]] * (level in ("SERIES", "IMAGE"))
    wanted = [*(table.by_keyword[keyword] for keyword in keywords), *unique, AVAILABILITY]
    return frozenset([*wanted, *[TRANSFER_SYNTAX] * (level == "IMAGE")])


def _is_open(level: Level, ask: Ask) -> bool:
    """Tell whether a level above is not named by the path: then its attributes are returned as well."""
    return {"STUDY": "study", "SERIES": "series"}.get(level, "") not in ask.path


def _rows(ask: Ask, asked: Search, returns: Sequence[Attribute]) -> Iterator[tuple[str, ...]]:
    """Ask the index. Whether there is more than was asked for is looked up before the answer begins."""
    index, environment = ask.environment.archive.index, ask.environment
    query = asked.query(returns, match_unknown=environment.match_unknown)
    limit = asked.limit if asked.limit is not None else environment.max_results or None
    if limit is not None:
        total = index.count(query, asked.offset + limit + MAX_COUNTED, allowance=allowance_of(ask))
        more = total - asked.offset - limit
        if more > 0:
            shown = "More" if more >= MAX_COUNTED else f"{more} additional"
            ask.warnings.append(f"There are {shown} results that can be requested")
    yield from index.find_ordered(query, asked.order, offset=asked.offset, limit=limit, allowance=allowance_of(ask))


def allowance_of(ask: Ask) -> Allowance:
    """Give a query its share of the readers: that of its caller."""
    return Allowance(f"http {ask.caller.name or ask.caller.address}")


def _document(results: Iterator[bytes]) -> Iterator[bytes]:
    """Write the results, the first soon and the rest in larger pieces."""
    piece, wanted = bytearray(b"["), 1
    is_first = True
    for result in results:
        piece += result if is_first else b"," + result
        is_first = False
        if len(piece) >= wanted:
            yield bytes(piece)
            piece.clear()
            wanted = min(wanted * 64, PIECE_BYTES)
    yield bytes(piece + b"]")


def _encoder(ask: Ask, asked: Search, returns: Sequence[Attribute]) -> Callable[[tuple[str, ...]], bytes]:
    places = {a.keyword: i for i, a in enumerate(returns)}
    picked = {a: frozenset(item) for a, item in asked.items.items()}
    root = f"{ask.service}/studies"
    own = {
        CHARACTER_SET: written_element("ISO_IR 192", "CS"),
        RETRIEVE_AE_TITLE: written_element(ask.environment.ae_title, "AE"),
        RETRIEVE_URL: "",
    }
    if asked.level == "PATIENT":
        del own[RETRIEVE_URL]
    columns = [(f"{a.tag:08X}", a, i) for i, a in enumerate(returns) if f"{a.tag:08X}" not in own]
    order = sorted([*((tag, None, 0) for tag in own), *columns], key=lambda column: column[0])

    def url(row: tuple[str, ...]) -> str:
        parts = [root, row[places["StudyInstanceUID"]]]
        if "SeriesInstanceUID" in places:
            parts += ["series", row[places["SeriesInstanceUID"]]]
        if asked.level == "IMAGE":
            parts += ["instances", row[places["SOPInstanceUID"]]]
        return "/".join(parts)

    def element(attribute: Attribute, text: str) -> str:
        if attribute.vr != "SQ":
            return written_element(text, attribute.vr)
        return write({"vr": "SQ", **values_of_items(from_text(text), picked.get(attribute))})

    def encode(row: tuple[str, ...]) -> bytes:
        if RETRIEVE_URL in own:
            own[RETRIEVE_URL] = written_element(url(row), "UR")
        found = [
            f'"{tag}":{own[tag] if attribute is None else element(attribute, row[place])}'
            for tag, attribute, place in order
            if attribute is None or row[place] or attribute.keyword not in LEFT_OUT_IF_EMPTY
        ]
        return f"{{{','.join(found)}}}".encode("utf-8", "replace")

    return encode


def _attribute(table: KeyTable, name: str, creators: Mapping[int, str] | None = None) -> Attribute | None:
    tag = _tag(name)
    if tag is None:
        known = table.by_keyword
        return known.get(name) or next((known[keyword] for keyword in known if keyword.lower() == name.lower()), None)
    for attribute in ONLY_RETURNED:
        if tag == attribute.tag:
            return attribute
    if tag & 0x10000:
        creator = (creators or {}).get(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
        return table.private(tag, creator) if creator else None
    return table.by_tag.get(tag)


def _tag(name: str) -> int | None:
    return int(name, 16) if _TAG.fullmatch(name) else tag_of(name)


def _creators(ask: Ask) -> dict[int, str]:
    """Find the creators of private attributes among the parameters (PS3.18 8.3.4.1 rule 4)."""
    return {int(name, 16): plain(value) for name, value in ask.parameters if _is_creator(name)}


def _is_creator(name: str) -> bool:
    if not _TAG.fullmatch(name):
        return False
    tag = int(name, 16)
    return bool(tag & 0x10000) and FIRST_BLOCK <= tag & 0xFFFF <= 0xFF


def _is_below(attribute: Attribute, level: Level) -> bool:
    return LEVELS.index(attribute.level) > LEVELS.index(level)
