"""Objects read as amendments have them: on every way out, in every transfer syntax, and after every loss."""

import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from minipacs.archive.archive import Archive
from minipacs.archive.care.amendments import correct, revoke
from minipacs.archive.care.recovery import recover
from minipacs.archive.care.reindex import reindex
from minipacs.archive.care.start import prepare
from minipacs.archive.media.dicomdir import Directory
from minipacs.archive.reader import BUFFER_BYTES, ObjectUnreadable
from minipacs.dicom.data_set.amendments import Part, check
from minipacs.dicom.data_set.part10 import FileMeta, file_meta
from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.errors import Failure, MinipacsError
from minipacs.index import Query
from minipacs.pixels.codecs import can_transcode
from tests.support.objects import ct
from tests.support.storing import put
from tests.system.test_retrieve_shipped import REFUSED, shipped

ORIGINAL = 0x04000561
IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"),
    *("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
)


def amend(archive: Archive, ds: Dataset, **values: str) -> tuple[str, int]:
    part = Part(ds.StudyInstanceUID, str(ds.get("PatientID") or ""), str(ds.get("IssuerOfPatientID") or ""))
    return correct(archive.tree, archive.index, [part], values, by="me", source="MINIPACS")


def out(archive: Archive, uid: str, syntax: str = "", buffer_bytes: int = BUFFER_BYTES) -> bytes:
    instance = archive.index.instance(uid)
    assert instance is not None
    syntax = syntax or instance.transfer_syntax_uid
    with archive.reader.open(instance, syntax, memoryview(bytearray(buffer_bytes))) as data_set:
        data = b"".join(bytes(piece) for piece in data_set.pieces())
        assert len(data) == data_set.size_bytes
        assert len(data) % 2 == 0 or not instance.amendments
        stream = data_set.stream()
        whole = b""
        while piece := stream.read(1 << 16):
            whole += piece
        assert whole == data
    return file_meta(instance.sop_class_uid, uid, syntax) + data


def loaded(file: bytes) -> Dataset:
    return dcmread(BytesIO(file), force=True)


def found(archive: Archive, level: Level, *keywords: str, **keys: str) -> list[tuple[str, ...]]:
    asked = [(BY_KEYWORD[keyword], text) for keyword, text in keys.items()]
    return sorted(archive.index.find(Query(level, asked, [BY_KEYWORD[keyword] for keyword in keywords])))


def raw(ds: Dataset) -> dict[int, object]:
    """Give the elements as they stand in the file, those of group lengths left out."""
    elements = {}
    for tag in ds.keys():  # noqa: SIM118  iterating converts
        element = ds.get_item(tag)
        if int(tag) & 0xFFFF:
            elements[int(tag)] = element.value if hasattr(element, "value_tell") else element
    return elements


STORED = [case for case in shipped() if case.values[0].name not in REFUSED]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("path", "meta"), STORED)
def test_exactly_what_is_amended_differs_in_every_transfer_syntax(archive: Archive, path: Path, meta: FileMeta) -> None:
    from minipacs.archive.media.importing import import_source, sources
    from minipacs.services.offered import storage_classes

    for source in sources([path]):
        item = import_source(archive, source, storage_classes(("*",)), lenient=True)
        assert item.record is not None, item.reason
    rows = found(archive, "IMAGE", "SOPInstanceUID", "StudyInstanceUID", "PatientID", "IssuerOfPatientID")
    ((uid, study, patient, issuer),) = rows
    stored = archive.index.instance(uid)
    assert stored is not None
    wanted = [s for s in (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED) if can_transcode(stored.transfer_syntax_uid, s)]
    before = {}
    for syntax in {stored.transfer_syntax_uid, *wanted}:
        try:
            before[syntax] = out(archive, uid, syntax)
        except ObjectUnreadable:
            continue
    assert stored.transfer_syntax_uid in before
    values = {"PatientName": "New^Name", "PatientID": "NEW-1", "StudyDescription": "", "AccessionNumber": "77"}
    correct(archive.tree, archive.index, [Part(study, patient, issuer)], values, by="me", source="MINIPACS")
    tags = {BY_KEYWORD[keyword].tag for keyword in values}
    for syntax, file in before.items():
        then, now = loaded(file), loaded(out(archive, uid, syntax))
        was, is_now = raw(then), raw(now)
        differing = {tag for tag in was.keys() | is_now.keys() if was.get(tag) != is_now.get(tag)}
        assert differing <= tags | {ORIGINAL}, syntax
        assert {str(now[keyword].value or "") for keyword in values} == set(values.values())
        item = now[ORIGINAL].value[-1]
        assert item.ReasonForTheAttributeModification == "CORRECT"
        previous = item.ModifiedAttributesSequence[0]
        for keyword in values:
            assert (previous[keyword].value or "") == (then[keyword].value if keyword in then else "" or ""), syntax
        assert list(map(int, is_now)) == sorted(is_now) or list(map(int, was)) != sorted(was)


@pytest.mark.parametrize("rows", [16, 900], ids=["in the buffer", "beyond the buffer"])
def test_pieces_are_the_same_whatever_the_buffer(archive: Archive, rows: int) -> None:
    ds = ct(rows=rows)
    put(archive, ds)
    amend(archive, ds, PatientName="A^B")
    files = {out(archive, ds.SOPInstanceUID, buffer_bytes=size) for size in (1000, 1 << 16, BUFFER_BYTES, 1 << 23)}
    assert len(files) == 1
    assert loaded(files.pop()).PixelData == ds.PixelData


def test_each_amendment_has_its_item_with_what_was_said_before_it(archive: Archive) -> None:
    ds = ct(PatientName="First^Name")
    put(archive, ds)
    amend(archive, ds, PatientName="Second^Name")
    amend(archive, ds, PatientName="Third^Name", PatientSex="")
    now = loaded(out(archive, ds.SOPInstanceUID))
    assert (now.PatientName, now.PatientSex) == ("Third^Name", "")
    items = [item.ModifiedAttributesSequence[0] for item in now.OriginalAttributesSequence]
    assert [(item.get("PatientName"), item.get("PatientSex")) for item in items] == [
        ("First^Name", None),
        ("Second^Name", "F"),
    ]
    assert items[0].PatientName == "First^Name"


@pytest.mark.parametrize("charset", ["", "ISO_IR 100", "ISO 2022 IR 6\\ISO 2022 IR 87", "ISO_IR 144", "ISO_IR 13"])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_a_name_that_does_not_fit_goes_out_in_utf_8_with_all_other_text(
    archive: Archive, charset: str, syntax: str
) -> None:
    texts = {"": "Ref", "ISO_IR 100": "Müller", "ISO_IR 144": "Иванов", "ISO_IR 13": "ﾔﾏﾀﾞ"}
    text = texts.get(charset, "山田")
    item = Dataset()
    item.RequestedProcedureDescription = text
    ds = ct(
        ReferringPhysicianName=text,
        RequestAttributesSequence=[item],
        SpecificCharacterSet=charset.split("\\") if charset else None,
    )
    put(archive, ds)
    amend(archive, ds, PatientName="Ωμέγα^山田^Ж")
    now = loaded(out(archive, ds.SOPInstanceUID, syntax))
    assert now.SpecificCharacterSet == "ISO_IR 192"
    assert str(now.PatientName) == "Ωμέγα^山田^Ж"
    assert str(now.ReferringPhysicianName) == text
    assert now.RequestAttributesSequence[0].RequestedProcedureDescription == text
    assert now.PixelData == ds.PixelData or syntax == BIG_ENDIAN
    assert now.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientName == "Doe^Jane"


def test_text_that_nobody_can_read_keeps_the_object_from_going_out_in_another_set(archive: Archive) -> None:
    ds = ct(SpecificCharacterSet=None)
    ds.add_new(0x00080090, "PN", b"M\xfcller")
    put(archive, ds)
    amend(archive, ds, PatientName="Ωμέγα")
    with pytest.raises(ObjectUnreadable, match="cannot be read"):
        out(archive, ds.SOPInstanceUID)


def test_rows_follow_in_the_same_transaction_and_the_feed_tells(archive: Archive) -> None:
    one, other = ct(PatientID="WRONG"), ct(PatientID="RIGHT", PatientName="Roe^Jim")
    for ds in (one, other):
        put(archive, ds)
    amendment_id, changed = amend(archive, one, PatientID="RIGHT", PatientName="Roe^Jim")
    assert changed == 1
    assert found(archive, "PATIENT", "PatientID", "NumberOfPatientRelatedInstances") == [("RIGHT", "2")]
    assert len(found(archive, "STUDY", "StudyInstanceUID", PatientName="Roe*")) == 2
    last = archive.index.last_change()
    assert last is not None
    assert (last.action, last.reason, last.sop_instance_uid) == ("update", "corrected", one.SOPInstanceUID)
    revoke(archive.tree, archive.index, amendment_id, by="me")
    assert len(found(archive, "PATIENT", "PatientID")) == 2
    assert loaded(out(archive, one.SOPInstanceUID)).PatientID == "WRONG"
    assert ORIGINAL not in loaded(out(archive, one.SOPInstanceUID))


def test_what_comes_later_to_the_study_is_amended_and_a_resend_changes_nothing(archive: Archive) -> None:
    first = ct(PatientID="WRONG")
    put(archive, first)
    amend(archive, first, PatientID="RIGHT")
    late = ct(PatientID="WRONG", StudyInstanceUID=first.StudyInstanceUID)
    put(archive, late)
    put(archive, first)
    assert found(archive, "PATIENT", "PatientID", "NumberOfPatientRelatedInstances") == [("RIGHT", "2")]
    assert loaded(out(archive, late.SOPInstanceUID)).PatientID == "RIGHT"
    other = ct(PatientID="WRONG")
    put(archive, other)
    assert loaded(out(archive, other.SOPInstanceUID)).PatientID == "WRONG"


def test_an_object_that_another_takes_the_place_of_stays_amended(archive: Archive) -> None:
    ds = ct(PatientID="WRONG")
    put(archive, ds)
    amend(archive, ds, PatientID="RIGHT")
    ds.InstanceNumber = 7
    put(archive, ds)
    assert found(archive, "IMAGE", "PatientID", "InstanceNumber") == [("RIGHT", "7")]
    assert loaded(out(archive, ds.SOPInstanceUID)).PatientID == "RIGHT"


def test_a_later_one_that_needs_an_earlier_is_revoked_first(archive: Archive) -> None:
    ds = ct(PatientID="WRONG")
    put(archive, ds)
    first, _ = amend(archive, ds, PatientID="RIGHT")
    ds.PatientID = "RIGHT"
    second, _ = amend(archive, ds, PatientName="New^Name")
    with pytest.raises(Failure, match=second):
        revoke(archive.tree, archive.index, first, by="me")
    revoke(archive.tree, archive.index, second, by="me")
    revoke(archive.tree, archive.index, first, by="me")
    with pytest.raises(Failure, match="already"):
        revoke(archive.tree, archive.index, first, by="me")
    assert found(archive, "PATIENT", "PatientID", "PatientName") == [("WRONG", "Doe^Jane")]


def everything(archive: Archive) -> list[tuple[str, ...]]:
    keywords = ("SOPInstanceUID", "PatientID", "PatientName", "AccessionNumber", "SeriesDescription")
    return found(archive, "IMAGE", *keywords)


def filled(archive: Archive) -> list[bytes]:
    objects = [ct(PatientID=f"P{number}", SeriesDescription="S") for number in range(4)]
    for ds in objects:
        put(archive, ds)
    amend(archive, objects[0], PatientID="P9", PatientName="Nine^Nine")
    revoked, _ = amend(archive, objects[1], PatientName="No^Body")
    revoke(archive.tree, archive.index, revoked, by="me")
    part = Part(objects[2].StudyInstanceUID, "P2", "", objects[2].SeriesInstanceUID)
    correct(archive.tree, archive.index, [part], {"SeriesDescription": "T"}, by="me", source="X")
    return [out(archive, ds.SOPInstanceUID) for ds in objects]


def test_a_lost_index_and_reindex_give_the_same_answers(open_archive: Callable[..., Archive], tmp_path: Path) -> None:
    archive = open_archive(recovers=True)
    files, rows = filled(archive), everything(archive)
    assert rows[0] != rows[1]
    reindex(archive, lambda done: None)
    assert everything(archive) == rows
    archive.close()
    for path in (tmp_path / "archive").glob("index.db*"):
        path.unlink()
    archive = open_archive(recovers=True)
    lock = archive.tree.daemon_lock()
    prepare(archive, lock)
    assert everything(archive) == rows
    uids = {loaded(file).SOPInstanceUID: file for file in files}
    assert {uid: out(archive, uid) for uid in uids} == uids
    recover(archive.tree, archive.index, archive.charset_of)
    assert everything(archive) == rows
    lock.release()


def test_an_older_copy_of_the_index_follows_the_documents_and_lost_documents_are_written_again(
    open_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = open_archive(recovers=True)
    ds = ct(PatientName="Old^Name")
    put(archive, ds)
    archive.index.backup(tmp_path / "copy.db")
    amend(archive, ds, PatientName="New^Name")
    archive.close()
    shutil.copy(tmp_path / "copy.db", tmp_path / "archive" / "index.db")
    archive = open_archive(recovers=True)
    lock = archive.tree.daemon_lock()
    prepare(archive, lock)
    assert found(archive, "IMAGE", "PatientName") == [("New^Name",)]
    (document,) = (tmp_path / "archive" / "amendments").iterdir()
    kept = document.read_bytes()
    document.unlink()
    prepare(archive, lock)
    assert document.read_bytes() == kept
    lock.release()


def test_a_damaged_document_that_is_needed_stops_the_start(
    open_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = open_archive(recovers=True)
    (tmp_path / "archive" / "amendments" / f"{'0' * 64}.json").write_text("{}")
    lock = archive.tree.daemon_lock()
    with pytest.raises(MinipacsError, match="put back a good copy"):
        prepare(archive, lock)
    lock.release()


def test_an_amendment_that_is_gone_keeps_the_object_back(archive: Archive) -> None:
    ds = ct()
    put(archive, ds)
    amend(archive, ds, PatientName="New^Name")
    instance = archive.index.instance(ds.SOPInstanceUID)
    assert instance is not None
    with pytest.raises(ObjectUnreadable, match="amend"):
        archive.reader.open(instance._replace(amendments="f" * 64), EXPLICIT, memoryview(bytearray(100)))


def test_the_header_and_a_directory_are_amended(archive: Archive) -> None:
    ds = ct()
    put(archive, ds)
    amend(archive, ds, PatientName="New^Name", PatientID="N1")
    instance = archive.index.instance(ds.SOPInstanceUID)
    assert instance is not None
    header = archive.reader.header(instance)
    assert header.PatientName == "New^Name"
    directory = Directory()
    directory.add(header, EXPLICIT)
    assert b"New^Name" in directory.encode()


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        *(("SOPInstanceUID", "1.2"), ("StudyInstanceUID", "1.2"), ("PixelData", "x"), ("Rows", "1"), ("Nonsense", "")),
        *(("PatientID", "x" * 65), ("PatientID", "a\\b"), ("PatientID", "a\nb"), ("PatientBirthDate", "19700230")),
        *(("PatientBirthDate", "1970"), ("PatientSex", "X"), ("Modality", ""), ("AccessionNumber", "x" * 17)),
        *(("PatientName", "a=b=c=d"), ("PatientName", "x" * 65), ("PatientAge", "42"), ("StudyTime", "25")),
        *(("ModalitiesInStudy", "CT"), ("SeriesNumber", "x"), ("PatientSize", "tall")),
    ],
)
def test_what_may_not_be_amended_is_refused(keyword: str, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each says something else
        check(keyword, text)


def test_studies_without_amendments_are_read_by_the_same_calls(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds, amended = ct(), ct()
    for each in (ds, amended):
        put(archive, each)
    amend(archive, amended, PatientName="New^Name")
    calls = []
    monkeypatch.setattr("minipacs.archive.amended.amend", lambda *given: calls.append(given))
    out(archive, ds.SOPInstanceUID)
    assert not calls
