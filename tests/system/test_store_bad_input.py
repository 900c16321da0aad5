import zlib

import pytest
from pydicom.uid import generate_uid

from tests.support import dcmtk
from tests.support.elements import element, fragments, sequence
from tests.support.objects import ct, encode, save
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.storing import incoming, published, quarantined
from tests.support.wire import (
    CT,
    EXPLICIT,
    IMPLICIT,
    command,
    message,
    p_data,
    pdv,
    store_rq,
)
from tests.support.wire import element as command_element

JPEG, DEFLATED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1.99"
MR = "1.2.840.10008.5.1.4.1.1.4"
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
UID = "1.2.826.0.1.3680043.1"
PAIRS = [(CT, EXPLICIT), (CT, IMPLICIT), (CT, JPEG), (CT, DEFLATED)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("bad"))
    yield server
    server.end()


@pytest.fixture
def sender(server):
    """Open an association; at the end it still works, and no refused object has left anything behind."""
    before = published(server.data), quarantined(server.data)
    with Sender(server.port, *PAIRS) as sender:
        yield sender
        assert not incoming(server.data)
        assert (published(server.data), quarantined(server.data)) == before
        assert sender.store(ct()).status == 0, "the association is usable for the next image"
        sender.release()


def refused(response, status, *offending):
    assert f"{response.status:04X}" == f"{status:04X}", response.comment
    assert 0 < len(response.comment) <= 64
    assert response.us(0x800) == 0x101
    assert response.offending == list(offending)
    return response.comment


def test_s6_uids_of_command_and_data_set_differ_is_a900(server, sender):
    data = encode(ct(SOPInstanceUID=UID))
    refused(sender.store_bytes(data, CT, UID + ".1"), 0xA900, SOP_INSTANCE)
    data = encode(ct(SOPInstanceUID=UID, SOPClassUID=MR))
    refused(sender.store_bytes(data, CT, UID), 0xA900, SOP_CLASS)
    line = server.wait_for(lambda e: e.get("status") == "A900")
    assert line["level"] == "warning"
    assert line["comment"] == "SOPInstanceUID of the data set is not the one announced"


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [("StudyInstanceUID", STUDY), ("SeriesInstanceUID", SERIES), ("SOPInstanceUID", SOP_INSTANCE)],
)
@pytest.mark.parametrize("value", [None, ""])
def test_s7_a_missing_or_empty_uid_is_c001(sender, keyword, tag, value):
    data = encode(ct(**{"SOPInstanceUID": UID, keyword: value}))
    refused(sender.store_bytes(data, CT, UID), 0xC001, tag)


def test_s7_a_missing_patient_id_is_accepted(server):
    with Sender(server.port) as sender:
        for value in (None, ""):
            assert sender.store(ct(PatientID=value, PatientName=value, StudyDate=value)).status == 0


def truncated():
    """Give data sets that are cut short or malformed, each with its transfer syntax."""
    native, implicit = encode(ct(SOPInstanceUID=UID)), encode(ct(SOPInstanceUID=UID), IMPLICIT)
    head = encode(ct(SOPInstanceUID=UID, PixelData=None))
    nested = head + sequence(0x00400555, element(0x0040A040, "CS", b"TEXT"))
    frames = head + fragments(bytes(100), bytes(100))
    cases = {
        "in the first tag": (native[:3], EXPLICIT),
        "in an element": (native[:50], EXPLICIT),
        "in a long header": (head + b"\xe0\x7f\x10\0OW\0\0", EXPLICIT),
        "in implicit pixel data": (implicit[:-10], IMPLICIT),
        "in pixel data": (native[:-10], EXPLICIT),
        "in a sequence": (nested[:-12], EXPLICIT),
        "without the sequence's end": (nested[:-8], EXPLICIT),
        "in a fragment": (frames[:-30], JPEG),
        "between fragments": (frames[: -8 - 108], JPEG),
        "without the fragments' end": (frames[:-8], JPEG),
        "with a bad fragment length": (frames[:-8] + b"\xfe\xff\0\xe0\xf0\xff\xff\xff", JPEG),
        "with no item among fragments": (frames[:-8] + element(0x00080060, "CS", b"CT"), JPEG),
        "with a bad length": (head + b"\x08\0\x18\0UI\xff\xff" + bytes(9), EXPLICIT),
        "with undefined length of text": (head + b"\x10\0\x20\0UT\0\0\xff\xff\xff\xff", EXPLICIT),
        "with text for a data set": (b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n" * 20, EXPLICIT),
        "that cannot be inflated": (b"\xff" * 100, DEFLATED),
        "cut while deflated": (deflate(native)[:-20], DEFLATED),
        "short inside what was deflated": (deflate(native[:-10]), DEFLATED),
    }
    return cases


def deflate(data):
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize("case", truncated())
def test_s8_truncated_data_set_is_c000(sender, case):
    data, transfer_syntax = truncated()[case]
    response = sender.store_bytes(data, CT, UID, transfer_syntax)
    assert response.status == 0xC000, response.comment
    assert 0 < len(response.comment) <= 64
    assert len(response.offending) <= 1


def test_s8_a_long_data_set_behind_the_fault_is_read_to_its_end(sender):
    data = b"\xff" * 5_000_000
    pieces = [data[i : i + 100_000] for i in range(0, len(data), 100_000)]
    sender.send(p_data(pdv(1, 3, store_rq(CT, UID, 5))))
    for i, piece in enumerate(pieces):
        sender.send(p_data(pdv(1, 2 if i == len(pieces) - 1 else 0, piece)))
    assert sender.response().status == 0xC000


def test_no_data_set_is_c000(sender):
    refused(sender.store_bytes(b"", CT, UID), 0xC000)
    request = command(1, CT, 8, data=False, more=command_element(0x1000, UID.encode()))
    sender.send(message(1, request))
    refused(sender.response(), 0xC000)


@pytest.mark.parametrize("uid", ["", "1.2.x", "1." * 32 + "1", "../../etc", ".", "1..2", "1.2."])
def test_a_malformed_instance_uid_is_c002(sender, uid):
    refused(sender.store_bytes(encode(ct(SOPInstanceUID=UID)), CT, uid), 0xC002, SOP_INSTANCE)


@pytest.mark.parametrize("uid", ["abc", "1." * 32 + "1"])
def test_a_malformed_study_uid_is_c002(sender, uid):
    data = encode(ct(SOPInstanceUID=UID, StudyInstanceUID="9.9"))
    padded = uid.encode() + b"\0" * (len(uid) % 2)
    data = data.replace(element(STUDY, "UI", b"9.9\0"), element(STUDY, "UI", padded))
    refused(sender.store_bytes(data, CT, UID), 0xC002, STUDY)


def test_another_class_than_the_contexts_is_0122(sender):
    sender.send(message(1, store_rq(MR, UID, 3), encode(ct(SOPInstanceUID=UID, SOPClassUID=MR))))
    refused(sender.response(), 0x0122)


def test_pixel_data_that_the_context_does_not_allow_is_c005(sender):
    native = encode(ct(SOPInstanceUID=UID))
    refused(sender.store_bytes(native, CT, UID, JPEG), 0xC005, 0x7FE00010)
    head = encode(ct(SOPInstanceUID=UID, PixelData=None))
    refused(sender.store_bytes(head + fragments(bytes(10)), CT, UID), 0xC005, 0x7FE00010)
    refused(sender.store_bytes(head + fragments(), CT, UID, JPEG), 0xC005, 0x7FE00010)


def test_dcmtk_is_told_why(server, tmp_path):
    path = save(ct(StudyInstanceUID=None), tmp_path / "a.dcm")
    told = dcmtk.client("storescu", server.port, "-d", path, check=False).stdout
    assert "0xc001" in told
    assert "(0020,000d)" in told
    assert "[StudyInstanceUID is missing or empty]" in told


def test_an_aborted_object_leaves_nothing_behind(server):
    before = published(server.data)
    for ending in (b"\x07\0\0\0\0\x04\0\0\0\0", b""):
        sender = Sender(server.port)
        sender.send(p_data(pdv(1, 3, store_rq(CT, UID))) + p_data(pdv(1, 0, encode(ct(SOPInstanceUID=UID))[:500])))
        sender.send(ending)
        sender.socket.close()
        ended = "aborted" if ending else "lost"
        line = server.wait_for(lambda e, ended=ended: e.get("ended") == ended)
        assert (line["event"], line["sop_instance_uid"]) == ("C-STORE", UID)
        assert not incoming(server.data)
    assert published(server.data) == before


def test_an_object_over_the_size_limit_is_c006(start_server):
    server = start_server(storage="max_instance_bytes = 2000")
    with Sender(server.port) as sender:
        big = ct(rows=64)
        comment = refused(sender.store(big), 0xC006)
        assert "2000" in comment
        assert sender.store(ct()).status == 0
    assert len(published(server.data)) == 1
    assert not incoming(server.data)


def test_s10_duplicates_reject(start_server):
    server = start_server(storage='duplicates = "reject"')
    ds = ct()
    with Sender(server.port) as sender:
        assert sender.store(ds).status == 0
        assert sender.store(ds).status == 0, "the same bytes"
        first = published(server.data)
        ds.PatientName = "Other^Name"
        refused(sender.store(ds), 0xC004, SOP_INSTANCE)
        ds.SeriesInstanceUID = generate_uid()
        refused(sender.store(ds), 0xC003, SOP_INSTANCE)
        assert sender.store(ct()).status == 0
    assert set(first) < set(published(server.data))
    assert len(published(server.data)) == 2
    assert not quarantined(server.data)


@pytest.mark.parametrize("policy", ["replace", "keep"])
def test_s10_duplicates_replace_and_keep_set_one_file_aside(start_server, policy):
    server = start_server(storage=f'duplicates = "{policy}"')
    ds = ct()
    with Sender(server.port) as sender:
        assert sender.store(ds).status == 0
        (first,) = published(server.data)
        content = first.read_bytes()
        ds.PatientName = "Other^Name"
        assert sender.store(ds).status == 0
    (current,) = published(server.data)
    (aside,) = server.quarantined()
    if policy == "replace":
        assert (aside.stem, aside.read_bytes()) == (first.stem, content)
        assert quarantined(server.data) == {first.stem: "replaced by another file"}
    else:
        assert current == first
        assert quarantined(server.data) == {aside.stem: "another file was first"}
    assert b"Other^Name" in (current if policy == "replace" else aside).read_bytes()
    assert server.metric("minipacs_quarantined_files") == 1
    assert server.metric("minipacs_instances") == 1


def test_a_peer_without_the_right_to_store_gets_no_context(start_server):
    server = start_server(more='[[peer]]\ntitle = "VIEWER"\nallow = ["echo", "find"]\n')
    with Sender(server.port, calling=b"VIEWER") as sender:
        assert sender.results[1][0] == 1
    with Sender(server.port, calling=b"OTHER") as sender:
        assert sender.store(ct()).status == 0
