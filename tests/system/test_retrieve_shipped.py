"""Every DICOM file that pydicom ships: stored, fetched by C-GET and by C-MOVE, the same bytes."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from minipacs.dicom.data_set.part10 import FileMeta, parse_file_meta
from minipacs.dicom.tables.sop_classes import STORAGE
from minipacs.errors import DataSetError
from tests.support.receiver import Receiver
from tests.support.retriever import get, move
from tests.support.sender import Sender
from tests.support.server import Server

DATA = Path(pydicom.__file__).parent / "data"
REFUSED = {
    "MR_truncated.dcm": 0xC000,
    "rtplan_truncated.dcm": 0xC000,
    "SC_rgb_jpeg.dcm": 0xC000,  # implicit VR in a transfer syntax that says explicit
    **dict.fromkeys(("chrSQEncoding.dcm", "chrSQEncoding1.dcm"), 0xC001),  # without a SOP class
    **dict.fromkeys(("UN_sequence.dcm", "no_meta_group_length.dcm", "priv_SQ.dcm"), 0xC001),
    **dict.fromkeys(("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm"), 0xC001),  # without a study
    **dict.fromkeys(("SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm"), 0xC001),
}
"""Files that hold no valid object, and what storing them is answered with."""


def shipped() -> Iterator[object]:
    for path in sorted(DATA.rglob("*")):
        if path.is_file():
            try:
                meta = parse_file_meta(path.read_bytes())
            except DataSetError:
                continue  # no file of PS3.10: raw data sets, documents
            if meta.sop_class_uid in STORAGE:
                yield pytest.param(path, meta, id=f"{path.parent.name}-{path.name}")


@pytest.fixture(scope="module")
def archive(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("archive"), more=receiver.peer())
    yield running
    running.end()


@pytest.mark.parametrize(("path", "meta"), list(shipped()))
def test_every_shipped_object_comes_back_as_it_was_sent(
    path: Path, meta: FileMeta, archive: Server, receiver: Receiver
) -> None:
    data = path.read_bytes()[meta.data_set_offset :]
    pair = meta.sop_class_uid, meta.transfer_syntax_uid
    found = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    sop_instance_uid = found.get("SOPInstanceUID", meta.sop_instance_uid)  # some files say another one ahead
    with Sender(archive.port, pair) as sender:
        stored = sender.store_bytes(data, pair[0], sop_instance_uid, pair[1])
        sender.release()
    assert stored.status == REFUSED.get(path.name, 0), (hex(stored.status), stored.comment)
    if stored.status:
        return
    expected = data + b"\0" * (len(data) % 2)
    keys = {"study": found.StudyInstanceUID, "series": found.SeriesInstanceUID, "image": found.SOPInstanceUID}
    fetched = get(archive.port, pair, level="IMAGE", **keys)
    assert (fetched.final.status, fetched.counts) == (0, (1, 0, 0))
    assert [item.data == expected for item in fetched.received] == [True]
    moved = move(archive.port, "IMAGE", **keys)
    assert (moved.final.status, moved.counts) == (0, (1, 0, 0))
    last = receiver.settled()[-1]
    assert [(item.transfer_syntax, item.data == expected) for item in last.received] == [(pair[1], True)]
