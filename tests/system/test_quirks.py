"""What real peers do, right or wrong, and what they need of the archive for it to work."""

import socket
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from tests.support import dcmtk
from tests.support.finder import Finder, text
from tests.support.objects import ct, encode, study
from tests.support.retriever import Retriever
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, STUDY_GET, VERIFICATION, Wire, command, message

DEFLATED = "1.2.840.10008.1.2.1.99"
HTJ2K_LOSSLESS, JPEG_XL = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.110"


def deflated(odd: bool) -> tuple[pydicom.Dataset, bytes]:
    """Make an object whose deflated data set has an odd or even size."""
    for rows in range(16, 64):
        ds = ct(rows=rows)
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = packer.compress(encode(ds)) + packer.flush()
        if len(data) % 2 == odd:
            return ds, data
    raise AssertionError("no such size")


@pytest.mark.parametrize("odd", [True, False])
def test_dcmtk_gets_a_data_set_of_odd_size(shared_server: Server, tmp_path: Path, odd: bool) -> None:
    """It aborts on a fragment of odd length."""
    ds, data = deflated(odd)
    with Sender(shared_server.port, (CT, DEFLATED)) as sender:
        assert sender.store_bytes(data, CT, ds.SOPInstanceUID, DEFLATED).status == 0
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ds.StudyInstanceUID}")
    dcmtk.client("getscu", shared_server.port, "-S", "+xd", "+B", "-od", str(tmp_path), *keys)
    (got,) = tmp_path.iterdir()
    assert got.read_bytes().endswith(data + b"\0" * odd)
    assert pydicom.dcmread(got).PixelData == ds.PixelData


@pytest.mark.parametrize("syntax", [HTJ2K_LOSSLESS, JPEG_XL])
def test_syntaxes_that_dcmtk_cannot_propose(shared_server: Server, syntax: str) -> None:
    """dcmjs-dimse does. What is in the fragments is the business of those who look at it."""
    ds = ct()
    head = encode(ct(**{k: getattr(ds, k) for k in ("SOPInstanceUID", "StudyInstanceUID")}, PixelData=None))
    frame = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" + b"\xfe\xff\x00\xe0\x04\x00\x00\x00code" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    data = head + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + frame
    with Sender(shared_server.port, (CT, syntax)) as sender:
        assert sender.store_bytes(data, CT, ds.SOPInstanceUID, syntax).status == 0
    with Retriever(shared_server.port, STUDY_GET, (CT, syntax)) as wire:
        (received,) = wire.run("STUDY", study=ds.StudyInstanceUID).received
    assert (received.transfer_syntax, received.data) == (syntax, data)


def test_uid_lists_of_any_length_filter(shared_server: Server) -> None:
    """Some archives ignore a list that is longer than a column is wide, and answer everything."""
    stored = [ct(), ct()]
    with Sender(shared_server.port) as sender:
        assert {sender.store(ds).status for ds in stored} == {0}
    wanted = stored[0].StudyInstanceUID
    for others in (0, 9, 500):
        uids = "\\".join([*(generate_uid() for _ in range(others)), wanted])
        with Finder(shared_server.port) as finder:
            found = finder.find("STUDY", StudyInstanceUID=uids, PatientID="")
        assert found.all("StudyInstanceUID") == [wanted]


def test_modalities_in_study_are_never_empty(shared_server: Server) -> None:
    """OHIF's list of studies fails on a study whose Modalities in Study has no value."""
    objects = [*study(PatientID="OHIF"), ct(PatientID="OHIF", Modality=""), ct(PatientID="OHIF", Modality=None)]
    with Sender(shared_server.port) as sender:
        assert {sender.store(ds).status for ds in objects} == {0}
    with Finder(shared_server.port) as finder:
        found = finder.find("STUDY", PatientID="OHIF", ModalitiesInStudy="")
    assert len(found.answers) == 3
    told = [text(answer, "ModalitiesInStudy") for answer in found.answers if "ModalitiesInStudy" in answer]
    assert told == ["CT"]


def test_an_abort_in_place_of_a_release_is_no_fault(shared_server: Server) -> None:
    """gdcmscu ends like that, with everything done."""
    ds = ct()
    with Sender(shared_server.port, calling=b"GDCMSCU") as sender:
        assert sender.store(ds).status == 0
        sender.send(b"\x07\0\0\0\0\x04\0\0\0\0")
    line = shared_server.wait_for(
        lambda line: line.get("event") == "association ended" and line.get("calling") == "GDCMSCU"
    )
    assert line["level"] in ("info", "warning")
    with Finder(shared_server.port) as finder:
        assert finder.find("STUDY", StudyInstanceUID=ds.StudyInstanceUID).all("StudyInstanceUID") == [
            ds.StudyInstanceUID
        ]


def test_connections_without_a_byte_leave_no_trace(shared_server: Server) -> None:
    """Load balancers and port scanners make them all day long."""
    before, files = len(shared_server.lines), shared_server.open_files()
    for _ in range(200):
        socket.create_connection(("127.0.0.1", shared_server.port)).close()
    with Wire(shared_server.port) as wire:
        wire.accepted(calling=b"AFTERWARDS")
        wire.send(message(1, command(0x30, VERIFICATION)))
        assert wire.response().status == 0
        wire.release()
    shared_server.wait_for(lambda line: line.get("calling") == "AFTERWARDS", after=before)
    assert [line for line in shared_server.lines[before:] if "calling" not in line] == []
    assert shared_server.open_files() <= files + 4
