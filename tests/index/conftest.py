"""Fixtures of the index's tests: records of made-up instances, and an index whose files are a dictionary."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.index import Index, InstanceRecord, Query

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"


class Files:
    """What would be on disk: the values of each file by its digest; which were read again, and the commits seen."""

    def __init__(self) -> None:
        self.values: dict[str, Mapping[str, str]] = {}
        self.commits: list[int] = []

    def record(
        self,
        uid: str,
        *,
        study: str = "1.1",
        series: str = "1.1.1",
        content: str = "",
        size_bytes: int = 1000,
        **values: str,
    ):
        """Make the record of an instance; `content` stands for bytes that the index does not see."""
        sop_class_uid = values.pop("SOPClassUID", CT)
        values = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "PatientID": "P1", "Modality": "CT"} | values
        digest = hashlib.sha256(repr((uid, content, sop_class_uid, sorted(values.items()))).encode()).hexdigest()
        self.values[digest] = values
        return InstanceRecord(values, sop_class_uid, uid, EXPLICIT, digest, size_bytes, 1.5e9 + len(self.values), "SCU")

    def read(self, digest: str, source: str) -> Mapping[str, str]:
        assert source == "SCU"
        return self.values[digest]


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def open_index(tmp_path: Path, files: Files) -> Iterator[Callable[..., Index]]:
    """Open the index of this test, as often as wanted; all are closed at its end."""
    opened: list[Index] = []

    def open_(**options: object) -> Index:
        index = Index.open(tmp_path / "index.db", **{"on_commit": files.commits.append, **options})  # type: ignore[arg-type]
        opened.append(index)
        return index

    yield open_
    for index in opened:
        index.close()


@pytest.fixture
def index(open_index: Callable[..., Index]) -> Index:
    return open_index(sync="batch")


@pytest.fixture
def ask(index: Index) -> Callable[..., list[str]]:
    """Ask for one attribute of what matches, sorted: ask("STUDY", "StudyInstanceUID", PatientID="P1")."""

    def ask_(level: Level, returned: str, *, match_unknown: bool = False, **keys: str) -> list[str]:
        asked = [(BY_KEYWORD[keyword], text) for keyword, text in keys.items()]
        query = Query(level, asked, [BY_KEYWORD[returned]], match_unknown=match_unknown)
        found = sorted(text for (text,) in index.find(query))
        assert index.count(query, len(found) + 10) == len(found)
        return found

    return ask_
