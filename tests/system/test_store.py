import hashlib
import threading
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import generate_uid

from minipacs import IMPLEMENTATION_CLASS_UID
from minipacs.dicom.tables.sop_classes import STORAGE
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from tests.support import dcmtk
from tests.support.elements import element, fragments, implicit, sequence
from tests.support.objects import ct, data_set_of, encode, save, save_all, study
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.storing import incoming, published, quarantined
from tests.support.wire import CT, EXPLICIT, IMPLICIT, item, p_data, pdv, store_rq, us, user_information
from tests.support.wire import element as command_element

BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG, JPEG_2000, MPEG4, JPEG_XL, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 90, 102, 110, 201))
PDF, SR, ECG = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("104.1", "88.33", "9.1.1"))
VIDEO, WSI = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("77.1.4.1", "77.1.6"))
STORAGE_SERVICE = "1.2.840.10008.4.2"

INVALID = {
    "MR_truncated.dcm": 0xC000,
    "rtplan_truncated.dcm": 0xC000,
    "SC_rgb_jpeg.dcm": 0xC000,  # Implicit VR where its File Meta says Explicit
    "JPEGLSNearLossless_08.dcm": 0xC001,  # no Study Instance UID, as the following
    "JPEGLSNearLossless_16.dcm": 0xC001,
    "SC_rgb_jls_lossy_line.dcm": 0xC001,
    "SC_rgb_jls_lossy_sample.dcm": 0xC001,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("store"))
    yield server
    server.end()


def kept(server):
    """List every file that the archive has, in quarantine or not, by the digest of its data set."""
    files = published(server.data) + sorted(server.data.glob("quarantine/*.dcm"))
    return {hashlib.sha256(data_set_of(path)).digest(): path for path in files}


def file_of(server, data):
    return kept(server)[hashlib.sha256(data).digest()]


def shipped():
    """Give the objects among pydicom's files: name, class, instance, transfer syntax, bytes of the data set."""
    for path in sorted(Path(pydicom.data.__file__).parent.rglob("*")):
        if not path.is_file() or path.read_bytes()[128:132] != b"DICM":
            continue
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            read_preamble(file, force=False)
            meta = _read_file_meta_info(file)
            data = file.read()
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            transfer_syntax = str(meta.get("TransferSyntaxUID", ""))
        uids = [str(ds.get(k, "")) for k in ("SOPClassUID", "SOPInstanceUID")]
        if uids[0] in STORAGE and transfer_syntax in TRANSFER_SYNTAXES:
            yield path.name, *uids, transfer_syntax, data


def test_every_object_that_pydicom_ships_is_stored_byte_for_byte(server):
    objects = list(shipped())
    assert len(objects) > 130
    pairs = sorted({(sop_class, syntax) for _, sop_class, _, syntax, _ in objects})
    sent = set()
    with Sender(server.port, *pairs) as sender:
        for name, sop_class, instance, syntax, data in objects:
            response = sender.store_bytes(data, sop_class, instance, syntax)
            assert response.status == INVALID.get(name, 0), (name, response.comment)
            if name not in INVALID:
                sent.add(hashlib.sha256(data).digest())
        sender.release()
    assert sent <= kept(server).keys()
    assert not incoming(server.data)


@pytest.mark.parametrize(
    ("option", "transfer_syntax"),
    [("-xi", IMPLICIT), ("-xe", EXPLICIT), ("-xb", BIG_ENDIAN), ("-xd", DEFLATED)],  # -xb only prefers: so is the file
)
def test_s3_storescu_in_each_uncompressed_syntax(server, tmp_path, option, transfer_syntax):
    ds = ct()
    source = BIG_ENDIAN if transfer_syntax == BIG_ENDIAN else EXPLICIT
    dcmtk.client("storescu", server.port, option, save(ds, tmp_path / "a.dcm", source))
    (path,) = (p for p in published(server.data) if pydicom.dcmread(p).SOPInstanceUID == ds.SOPInstanceUID)
    found = pydicom.dcmread(path)
    assert found == ds
    assert found.file_meta.TransferSyntaxUID == transfer_syntax


def test_dcmsend_sends_compressed_and_native_objects_together(start_server, tmp_path):
    """It writes lengths of sequences anew, so what it sends is not the file to the byte."""
    server = start_server()
    files = [Path(pydicom.data.get_testdata_file(n)) for n in ("JPEG2000.dcm", "MR_small_RLE.dcm")]
    files += save_all(study(instances=3), tmp_path)
    dcmtk.client("dcmsend", server.port, *files)
    have = {found.SOPInstanceUID: found for found in map(pydicom.dcmread, published(server.data))}
    assert len(have) == len(files)
    for sent in map(pydicom.dcmread, files):
        found = have[sent.SOPInstanceUID]
        assert found.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert found.PixelData == sent.PixelData


def test_s3_file_meta_is_ours_and_tells_nothing_of_the_sender(server):
    ds = ct()
    with Sender(server.port) as sender:
        assert sender.store(ds).status == 0
    raw = file_of(server, encode(ds)).read_bytes()
    assert raw[:132] == bytes(128) + b"DICM", "X4"
    meta = pydicom.dcmread(file_of(server, encode(ds))).file_meta
    assert {e.keyword: e.value for e in meta if e.tag.element > 1} == {
        "MediaStorageSOPClassUID": CT,
        "MediaStorageSOPInstanceUID": ds.SOPInstanceUID,
        "TransferSyntaxUID": EXPLICIT,
        "ImplementationClassUID": IMPLEMENTATION_CLASS_UID,
    }


def test_s3_the_same_data_set_from_two_senders_is_the_same_file(server):
    ds = ct()
    for calling in (b"ONE", b"OTHER"):
        with Sender(server.port, calling=calling) as sender:
            assert sender.store(ds).status == 0
    assert len([p for p in published(server.data) if ds.SOPInstanceUID.encode() in p.read_bytes()]) == 1


def odd_data_set(uid):
    """Make a data set with all that archives like to lose."""
    parts = [
        element(0x00080000, "UL", b"\x2a\0\0\0"),  # a group length, and wrong
        encode(ct(SOPInstanceUID=uid, PixelData=None, AccessionNumber="")),
        element(0x00291010, "UN", b"\x01\x02\x03\x04"),
        element(0x00291011, "LO", b""),
        element(0x00291012, "XX", b"VR unknown to all"[:16]),
        sequence(0x00291013, implicit(0x00290010, b"nested"), implicit(0x00291099, bytes(10)), vr="UN"),
        element(0x00400555, "SQ", b""),
        element(0x7FE00010, "OW", bytes(512)),
        element(0xFFFAFFFA, "SQ", b""),
        element(0xFFFCFFFC, "OB", bytes(6)),
    ]
    return b"".join(parts)


def test_s2_s5_private_unknown_empty_and_wrong_attributes_are_kept(server):
    uid = generate_uid()
    data = odd_data_set(uid)
    with Sender(server.port) as sender:
        response = sender.store_bytes(data, CT, uid)
        assert response.status == 0, response.comment
    assert data_set_of(file_of(server, data)) == data


def instance(sop_class, *elements, **values):
    """Make an object of any class; gives its UID and bytes."""
    uid = generate_uid()
    ds = ct(SOPClassUID=sop_class, SOPInstanceUID=uid, PixelData=None, **values)
    return uid, encode(ds) + b"".join(elements)


OBJECTS = {
    "pdf": (PDF, EXPLICIT, [element(0x00420011, "OB", b"%PDF-1.7 " + bytes(991))]),
    "report": (SR, EXPLICIT, [sequence(0x0040A730, sequence(0x0040A730, element(0x0040A040, "CS", b"TEXT")))]),
    "waveform": (ECG, EXPLICIT, [sequence(0x54000100, element(0x54001010, "OW", bytes(100_000)))]),
    "video": (VIDEO, MPEG4, [fragments(bytes(3_000_000))]),
    "slide": (WSI, JPEG, [fragments(*[bytes(998)] * 3000, offsets=bytes(4 * 3000))]),
    "a syntax unknown to pydicom": (CT, JPEG_XL, [fragments(bytes(100), offsets=bytes(4))]),
    "a syntax unknown to dcmtk": (CT, HTJ2K, [fragments(bytes(100))]),
    "empty fragment": (WSI, JPEG, [fragments(b"", bytes(10))]),
    "empty pixel data": (CT, EXPLICIT, [element(0x7FE00010, "OW", b"")]),
    "empty pixel data, compressed": (CT, JPEG_2000, [element(0x7FE00010, "OB", b"")]),
    "no pixel data": (CT, EXPLICIT, []),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_s4_s12_objects_of_every_kind_are_kept_as_they_are(server, name):
    sop_class, syntax, elements = OBJECTS[name]
    uid, data = instance(sop_class, *elements)
    with Sender(server.port, (sop_class, syntax)) as sender:
        response = sender.store_bytes(data, sop_class, uid, syntax)
        assert response.status == 0, response.comment
    assert data_set_of(file_of(server, data)) == data


def test_s12_memory_does_not_grow_with_the_object(start_server):
    server = start_server()
    with Sender(server.port) as sender:
        assert sender.store(ct()).status == 0
        before = peak_kib(server)
        uid, head = instance(CT)
        size, piece = 300 << 20, bytes(128 << 10)
        head += b"\xe0\x7f\x10\0OW\0\0" + size.to_bytes(4, "little")
        sender.send(p_data(pdv(1, 3, store_rq(CT, uid, 9))) + p_data(pdv(1, 0, head)))
        pdu = p_data(pdv(1, 0, piece))
        for _ in range(size // len(piece) - 1):
            sender.send(pdu)
        sender.send(p_data(pdv(1, 2, piece)))
        assert sender.response().status == 0
    assert peak_kib(server) - before < 16 << 10
    path = max(server.objects(), key=lambda path: path.stat().st_size)
    assert path.stat().st_size > size
    path.unlink()


def peak_kib(server):
    found = [Path(f"/proc/{pid}/status").read_text() for pid in server.children("worker")]
    return sum(int(status.split("VmHWM:")[1].split()[0]) for status in found)


def test_s10_the_same_object_twice_is_one_file(server):
    ds = ct()
    with Sender(server.port) as sender:
        assert sender.store(ds).status == 0
        path = file_of(server, encode(ds))
        before = path.stat()
        assert sender.store(ds).status == 0
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    server.wait_for(lambda e: e.get("outcome") == "same" and e["sop_instance_uid"] == ds.SOPInstanceUID)
    assert not incoming(server.data)


def test_nothing_is_left_in_incoming_when_an_association_is_over(server):
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in study(instances=3)] == [0] * 3
        assert not incoming(server.data)
        sender.release()
        assert list((server.data / "incoming").iterdir()) == []


def test_s10_the_same_object_at_the_same_instant_on_two_associations(server):
    objects = study(instances=5)
    statuses = []
    start = threading.Barrier(2)

    def send():
        with Sender(server.port) as sender:
            start.wait(10)
            statuses.extend(sender.store(ds).status for ds in objects)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [0] * 10
    have = kept(server)
    assert all(hashlib.sha256(encode(ds)).digest() in have for ds in objects)
    assert not incoming(server.data)


def common_extended(sop_class, *general, service=STORAGE_SERVICE):
    def named(uid):
        return len(uid).to_bytes(2, "big") + uid.encode()

    related = b"".join(map(named, general))
    return item(0x57, named(sop_class) + named(service) + len(related).to_bytes(2, "big") + related)


def test_s11_a_special_class_is_stored_by_its_related_general_class(server):
    special = "1.2.826.0.1.3680043.9999.1"
    uid, data = instance(special)
    user = user_information(16384, common_extended(special, "1.2.3.4", CT))
    with Sender(server.port, (special, EXPLICIT), user=user) as sender:
        assert sender.results[1][0] == 0
        assert sender.store_bytes(data, special, uid).status == 0
    assert pydicom.dcmread(file_of(server, data)).SOPClassUID == special


def test_s11_an_unknown_class_is_refused_without_a_related_one(server):
    special = "1.2.826.0.1.3680043.9999.2"
    for user in (user_information(), user_information(16384, common_extended(special, "1.2.3.4"))):
        with Sender(server.port, (special, EXPLICIT), user=user) as sender:
            assert sender.results[1][0] == 3


@pytest.mark.parametrize("charset", [b"ISO_IR 999 ", b"KLINGON \\ISO 2022 IR 87", b"\xff\xfe\x00\x01"])
def test_s13_an_unknown_character_set_does_not_matter(server, charset):
    uid, data = instance(CT, PatientID="S13")
    data = element(0x00080005, "CS", charset + b" " * (len(charset) % 2)) + data
    data = data.replace(b"Doe^Jane", b"\xff\x81\xfe^Jane")
    with Sender(server.port) as sender:
        assert sender.store_bytes(data, CT, uid).status == 0
    assert data_set_of(file_of(server, data)) == data
    assert uid in find(server, f"SOPInstanceUID={uid}")


def find(server, *keys):
    keys = [word for key in ("QueryRetrieveLevel=IMAGE", *keys) for word in ("-k", key)]
    return dcmtk.client("findscu", server.port, "-S", *keys).stdout


@pytest.mark.parametrize(
    ("uid", "padded"),
    [("1.2.826.1234.5", b"1.2.826.1234.5  "), ("1.2.0826.01.002", b"1.2.0826.01.002\0"), ("1.2.3.0011", b"1.2.3.0011")],
)
def test_s14_uids_as_sent(server, uid, padded):
    data = encode(ct(SOPInstanceUID="1.1.1.1.1"))
    was = element(0x00080018, "UI", b"1.1.1.1.1\0")
    assert was in data
    data = data.replace(was, element(0x00080018, "UI", padded))
    with Sender(server.port) as sender:
        response = sender.store_bytes(data, CT, padded.decode())
        assert response.status == 0, response.comment
    assert data_set_of(file_of(server, data)) == data
    assert f"[{uid}" in find(server, f"SOPInstanceUID={uid}")


def test_s15_the_move_originator_is_accepted_and_logged(server):
    ds = ct()
    more = command_element(0x1030, b"WORKSTATION ") + us(0x1031, 77)
    with Sender(server.port) as sender:
        assert sender.store(ds, more=more).status == 0
    line = server.wait_for(lambda e: e.get("sop_instance_uid") == ds.SOPInstanceUID)
    assert (line["move_originator"], line["move_originator_message_id"]) == ("WORKSTATION", 77)


def test_the_response_mirrors_the_request_and_the_log_has_no_patient(server):
    ds = ct(PatientID="SECRET-ID", PatientName="Secret^Name")
    with Sender(server.port) as sender:
        sender.message_id = 41
        response = sender.store(ds)
    assert (response.status, response.us(0x100), response.us(0x120), response.us(0x800)) == (0, 0x8001, 42, 0x101)
    assert response.elements[0x2].rstrip(b"\0").decode() == CT
    assert response.elements[0x1000].rstrip(b"\0").decode() == ds.SOPInstanceUID
    line = server.wait_for(lambda e: e.get("sop_instance_uid") == ds.SOPInstanceUID)
    assert (line["level"], line["event"], line["calling"], line["status"]) == ("info", "C-STORE", "TEST", "0000")
    assert (line["outcome"], line["size_bytes"]) == ("added", len(encode(ds)))
    assert "SECRET" not in "".join(server.raw).upper()


def test_what_gave_way_is_only_what_was_sent_twice(server):
    assert set(quarantined(server.data).values()) <= {"replaced by another file"}
