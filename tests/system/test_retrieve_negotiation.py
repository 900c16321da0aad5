"""Contexts and transfer syntaxes of retrieval: what is proposed, what is sent in which (PS3.4 C.4.2, C.4.3, C.5.3)."""

import io
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from minipacs.dicom.data_set.part10 import file_meta, parse_file_meta
from minipacs.dicom.tables.sop_classes import STORAGE
from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
from tests.support.dcmtk import ENVIRONMENT, run, tool
from tests.support.objects import ct, encode, save, study
from tests.support.receiver import Receiver, only
from tests.support.retriever import Retriever, get, move
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, IMPLICIT, STUDY_GET, free_port, role, sub_items

J2K, J2K_LOSSY, RLE, MPEG4 = (
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.102",
)
BIG, DEFLATED = EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
MR = "1.2.840.10008.5.1.4.1.1.4"
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
COLOUR = "examples_jpeg2k.dcm"
MONO = "MR_small_jp2klossless.dcm"
SHIPPED = {name: FILES / name for name in (MONO, COLOUR, "MR_small.dcm")}


def store(server: Server, path: Path) -> dict[str, str]:
    """Store a file; gives the keys of its study."""
    raw = path.read_bytes()
    meta = parse_file_meta(raw)
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    pair = meta.sop_class_uid, meta.transfer_syntax_uid
    with Sender(server.port, pair) as sender:
        stored = sender.store_bytes(raw[meta.data_set_offset :], pair[0], ds.SOPInstanceUID, pair[1])
    assert stored.status == 0
    return {"study": ds.StudyInstanceUID}


def read(data: bytes, uid: str) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(file_meta("1.2", "1.2.3", uid) + data))


def test_a11_the_scp_role_is_granted_for_storage_classes_asked_for_and_no_other(server: Server) -> None:
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), (MR, EXPLICIT)) as wire:
        assert sorted(sub_items(wire.answered, 0x54)) == sorted(role(uid, 0, 1)[4:] for uid in (CT, MR))
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), roles=False) as wire:
        assert sub_items(wire.answered, 0x54) == []
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), roles=False, items=(role(STUDY_GET, 1, 1),)) as wire:
        assert sub_items(wire.answered, 0x54) == [role(STUDY_GET, 1, 0)[4:]], "not for the query class"


def test_m16_without_the_scp_role_everything_fails(server: Server) -> None:
    instances = study(instances=2)
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in instances] == [0, 0]
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), roles=False) as wire:
        result = wire.run("STUDY", study=instances[0].StudyInstanceUID)
    assert (result.final.status, result.counts, result.received) == (0xA702, (0, 2, 0), [])
    assert "SCP role" in result.final.comment
    assert sorted(result.failed_uids) == sorted(ds.SOPInstanceUID for ds in instances)


def test_m17_classes_beyond_128_contexts_are_failed_and_listed(server: Server) -> None:
    instances = study(instances=3)
    instances[1].SOPClassUID = MR
    with Sender(server.port, (CT, EXPLICIT), (MR, EXPLICIT)) as sender:
        assert [sender.store(ds).status for ds in instances] == [0, 0, 0]
    others = [uid for uid in STORAGE if uid not in (CT, MR)][:126]
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), *((uid, EXPLICIT) for uid in others)) as wire:
        assert len(wire.results) == 128
        assert {result for result, _ in wire.results.values()} == {0}
        result = wire.run("STUDY", study=instances[0].StudyInstanceUID)
    assert (result.final.status, result.counts) == (0xB000, (2, 1, 0))
    assert result.failed_uids == [instances[1].SOPInstanceUID]


def test_m19_stored_syntaxes_and_uncompressed_ones_are_proposed_apart(start_server: Callable[..., Server]) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        keys = store(server, SHIPPED[MONO])
        assert move(server.port, "STUDY", **keys).final.status == 0
        (call,) = receiver.settled()
    assert [(p.abstract_syntax, p.transfer_syntaxes) for p in call.contexts] == [
        (MR, (J2K,)),
        (MR, (EXPLICIT, IMPLICIT)),
        (MR, (BIG, DEFLATED)),
    ]
    assert [p.context_id for p in call.contexts] == [1, 3, 5]


def test_m19_more_than_128_contexts_take_a_second_association(start_server: Callable[..., Server]) -> None:
    classes = list(STORAGE)[:50]
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=len(classes))
        for ds, uid in zip(instances, classes, strict=True):
            ds.SOPClassUID = uid
        with Sender(server.port, *((uid, EXPLICIT) for uid in classes)) as sender:
            assert [sender.store(ds).status for ds in instances] == [0] * len(classes)
        result = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
        calls = receiver.settled()
    assert (result.final.status, result.counts) == (0, (len(classes), 0, 0))
    assert len(calls) == 2
    assert all(len(call.contexts) <= 128 for call in calls)
    assert sorted(r.sop_instance_uid for r in receiver.received) == sorted(ds.SOPInstanceUID for ds in instances)


@pytest.mark.parametrize("accepted", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
@pytest.mark.parametrize("name", [MONO, COLOUR])
def test_m14_what_is_not_taken_as_stored_is_decoded(
    start_server: Callable[..., Server], accepted: str, name: str
) -> None:
    original = pydicom.dcmread(SHIPPED[name])
    with Receiver(only(accepted)) as receiver:
        server = start_server(more=receiver.peer())
        keys = store(server, SHIPPED[name])
        moved = move(server.port, "STUDY", **keys)
        fetched = get(server.port, (original.SOPClassUID, accepted), level="STUDY", **keys)
        (sent,) = receiver.received
    assert (moved.final.status, moved.counts) == (0, (1, 0, 0))
    assert (fetched.final.status, fetched.counts) == (0, (1, 0, 0))
    assert sent.transfer_syntax == accepted
    assert fetched.received[0].data == sent.data
    native = read(sent.data, accepted)
    assert native.SOPInstanceUID == original.SOPInstanceUID
    assert np.array_equal(native.pixel_array, pydicom.pixels.pixel_array(original))
    assert native.get("LossyImageCompression") == original.get("LossyImageCompression")


def test_m14_the_stored_syntax_is_used_where_it_is_taken(start_server: Callable[..., Server]) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        store(server, SHIPPED["MR_small.dcm"])
        keys = store(server, SHIPPED[MONO])
        move(server.port, "STUDY", **keys)
        (sent,) = receiver.received
    raw = SHIPPED[MONO].read_bytes()
    assert sent.transfer_syntax == J2K
    assert raw.endswith(sent.data)


def test_m15_without_a_decoder_the_object_fails_and_others_go_on(start_server: Callable[..., Server]) -> None:
    with Receiver(only(EXPLICIT)) as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=2)
        movie = ct(StudyInstanceUID=instances[0].StudyInstanceUID, SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.1.1")
        del movie.PixelData
        with Sender(server.port, (CT, EXPLICIT), (movie.SOPClassUID, MPEG4)) as sender:
            assert [sender.store(ds).status for ds in instances] == [0, 0]
            data = (
                encode(movie) + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\4\0\0\0abcd"
            )
            data += b"\xfe\xff\xdd\xe0\0\0\0\0"
            assert sender.store_bytes(data, movie.SOPClassUID, movie.SOPInstanceUID, MPEG4).status == 0
        result = move(server.port, "STUDY", study=movie.StudyInstanceUID)
        assert len(receiver.received) == 2
    assert (result.final.status, result.counts) == (0xB000, (2, 1, 0))
    assert result.failed_uids == [movie.SOPInstanceUID]
    line = server.wait_for(lambda line: line.get("event") == "sub-operation failed")
    assert line["sop_instance_uid"] == movie.SOPInstanceUID


@pytest.mark.parametrize(
    ("name", "preferred", "accepted", "expected"),
    [
        ("MR_small.dcm", [J2K], [J2K, EXPLICIT], J2K),
        ("MR_small.dcm", [J2K, RLE], [RLE, EXPLICIT], RLE),
        ("MR_small.dcm", [J2K], [EXPLICIT], EXPLICIT),
        ("MR_small.dcm", [IMPLICIT], [IMPLICIT, EXPLICIT], IMPLICIT),
        (MONO, [EXPLICIT], [J2K, EXPLICIT], EXPLICIT),
        (MONO, [RLE], [J2K, EXPLICIT, RLE], RLE),
        (MONO, [], [J2K, EXPLICIT, RLE], J2K),
    ],
)
def test_a_peer_gets_what_it_prefers(
    start_server: Callable[..., Server], name: str, preferred: list[str], accepted: list[str], expected: str
) -> None:
    original = pydicom.dcmread(SHIPPED[name])
    with Receiver(only(*accepted)) as receiver:
        server = start_server(more=receiver.peer(more=f"transfer_syntaxes = {preferred}"))
        keys = store(server, SHIPPED[name])
        assert move(server.port, "STUDY", **keys).final.status == 0
        (sent,) = receiver.received
        pairs = [(MR, uid) for uid in accepted]
        with Retriever(server.port, STUDY_GET, *pairs, calling=b"RECEIVER") as wire:
            fetched = wire.run("STUDY", **keys)
    assert sent.transfer_syntax == expected
    assert [(r.transfer_syntax, r.data) for r in fetched.received] == [(expected, sent.data)]
    assert np.array_equal(read(sent.data, expected).pixel_array, original.pixel_array)


def test_what_cannot_be_encoded_goes_as_stored(start_server: Callable[..., Server]) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer(more=f'transfer_syntaxes = ["{J2K}"]'))
        report = ct(PixelData=None)
        with Sender(server.port) as sender:
            assert sender.store(report).status == 0
        result = move(server.port, "STUDY", study=report.StudyInstanceUID)
        (sent,) = receiver.received
    assert (result.counts, sent.transfer_syntax) == ((1, 0, 0), EXPLICIT)


@pytest.fixture(scope="module")
def dcmtk_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("study")
    instances = study(instances=3)
    for number, ds in enumerate(instances):
        save(ds, folder / f"{number}.dcm")
    return folder, instances[0].StudyInstanceUID


@pytest.mark.parametrize(
    ("option", "expected"),
    [("+x=", EXPLICIT), ("+xe", EXPLICIT), ("+xb", EXPLICIT), ("+xi", IMPLICIT), ("+xd", EXPLICIT), ("+xv", EXPLICIT)],
)
def test_storescp_gets_every_object_whatever_it_prefers(
    start_server: Callable[..., Server], dcmtk_study: tuple[Path, str], tmp_path: Path, option: str, expected: str
) -> None:
    folder, study_uid = dcmtk_study
    port = free_port()
    got = tmp_path / "got"
    got.mkdir()
    peer = f'[[peer]]\ntitle = "SINK"\nhost = "127.0.0.1"\nport = {port}\n'
    server = start_server(more=peer)
    run("storescu", "-aec", "MINIPACS", "127.0.0.1", server.port, "+sd", folder)
    with subprocess.Popen(
        [tool("storescp"), "-aet", "SINK", option, "-od", got, "+B", str(port)], env=ENVIRONMENT
    ) as storescp:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 10).close()
                    break
                except ConnectionRefusedError:
                    assert storescp.poll() is None
            result = move(server.port, "STUDY", "SINK", study=study_uid)
        finally:
            storescp.terminate()
    assert (result.final.status, result.counts) == (0, (3, 0, 0))
    files = sorted(got.iterdir())
    assert len(files) == 3
    for path in files:
        found = pydicom.dcmread(path)
        assert found.file_meta.TransferSyntaxUID == expected
        original = next(
            ds for ds in map(pydicom.dcmread, sorted(folder.iterdir())) if ds.SOPInstanceUID == found.SOPInstanceUID
        )
        assert np.array_equal(found.pixel_array, original.pixel_array)
