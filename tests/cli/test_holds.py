"""`minipacs hold` and `minipacs unhold`."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minipacs.archive.archive import Archive
from minipacs.archive.care.holds import adopt, hold
from minipacs.archive.ingest import StoragePolicy
from minipacs.archive.removal import remove
from minipacs.cli import main
from minipacs.errors import Failure, Kind, MinipacsError
from minipacs.index.ledger.removal.holds import Hold
from tests.support.objects import ct, save
from tests.support.storing import put


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "minipacs.toml"
    path.write_text(
        '[storage]\npath = "./var"\nmin_free_bytes = 0\n[audit]\nfile = "./audit.log"\n[metrics]\nbind = ""\n'
    )
    for study in ("1.2.3", "1.2.4"):
        ds = ct(PatientID="P1", StudyInstanceUID=study)
        call(path, "import", str(save(ds, tmp_path / f"{ds.SOPInstanceUID}.dcm")))
    return path


def call(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [words[0], "--config", str(config), *words[1:]])


def held(config: Path) -> dict[str, str]:
    return {row["StudyInstanceUID"]: row["reason"] for row in json.loads(call(config, "hold", "--json").output)}


def test_a_held_study_is_not_removed_until_it_is_released(config: Path) -> None:
    result = call(config, "hold", "StudyInstanceUID=1.2.3", "--reason", "lawsuit 4711")
    assert (result.exit_code, result.output) == (0, "1 studies are held\n")
    assert held(config) == {"1.2.3": "lawsuit 4711"}
    result = call(config, "delete", "PatientID=P1", "--yes")
    assert result.exit_code == 1
    assert "study 1.2.3 is held: lawsuit 4711" in result.output
    assert json.loads(call(config, "stats", "--json").output)["instances"] == 2
    assert "1 studies are held no more" in call(config, "unhold", "PatientID=P1").output
    assert held(config) == {}
    assert "nothing that is held matches" in call(config, "unhold", "PatientID=P1").output
    assert call(config, "delete", "PatientID=P1", "--yes").exit_code == 0
    told = CliRunner().invoke(main, ["audit", "show", "--config", str(config), "--json"]).output
    assert told.count("DICOM Instances Accessed") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("PatientID=P1",), "--reason is needed"),
        (("PatientID=*", "--reason", "a"), "match everything"),
        (("PatientID=P1", "--reason", "a\x1b[2J"), "printable"),
        (("PatientID=P1", "--reason", "a" * 201), "200 characters"),
        (("SOPInstanceUID=1.2", "--reason", "a"), "SOPInstanceUID"),
    ],
)
def test_what_cannot_be_held_so_is_told(config: Path, words: tuple[str, ...], told: str) -> None:
    result = call(config, "hold", *words)
    assert result.exit_code == 2
    assert told in result.output
    assert held(config) == {}


def test_a_removal_by_whom_ever_is_refused_whole(archive: Archive) -> None:
    objects = [ct(StudyInstanceUID="1.2.3") for _ in range(3)]
    for ds in objects:
        put(archive, ds)
    hold(archive.tree, archive.index, ["1.2.3"], by="me", reason="why", releases=False)
    with pytest.raises(Failure, match=r"1\.2\.3 is held: why") as failure:
        list(remove(archive.tree, archive.index, [ds.SOPInstanceUID for ds in objects]))
    assert failure.value.kind is Kind.HELD
    assert archive.figures().instances == 3
    assert archive.index.removals.unfinished() == []


def test_a_lost_index_and_lost_documents_get_them_back(archive: Archive, tmp_path: Path) -> None:
    put(archive, ct(StudyInstanceUID="1.2.3"))
    for reason, releases in (("first", False), ("", True), ("second", False)):
        hold(archive.tree, archive.index, ["1.2.3"], by="me", reason=reason, releases=releases)
    hold(archive.tree, archive.index, ["1.2.4"], by="me", reason="gone", releases=False)
    hold(archive.tree, archive.index, ["1.2.4"], by="me", reason="", releases=True)
    shutil.copytree(archive.tree.layout.holds, tmp_path / "other" / "holds")
    with_documents = Archive.open(tmp_path / "other", StoragePolicy())
    try:
        assert adopt(with_documents.tree, with_documents.index) == 5
        assert adopt(with_documents.tree, with_documents.index) == 0
        assert [(one.study_uid, one.reason) for one in with_documents.index.holds.all()] == [("1.2.3", "second")]
    finally:
        with_documents.close()
    shutil.rmtree(archive.tree.layout.holds)
    archive.tree.layout.holds.mkdir()
    assert adopt(archive.tree, archive.index) == 0
    assert archive.tree.holds.ids() == archive.index.holds.ids()


def test_the_last_document_tells_in_whatever_order_they_come(archive: Archive) -> None:
    for document in (
        Hold(3, "b", "late", ("1.2",)),
        Hold(2, "a", "", ("1.2",), releases=True),
        Hold(1, "a", "x", ("1.2",)),
    ):
        archive.index.holds.add(document)
    assert [one.reason for one in archive.index.holds.all()] == ["late"]


def test_a_damaged_document_stops_the_start(archive: Archive) -> None:
    path = archive.tree.layout.holds / ("a" * 64 + ".json")
    path.write_bytes(b"{}")
    with pytest.raises(MinipacsError, match="put back a good copy"):
        adopt(archive.tree, archive.index)
