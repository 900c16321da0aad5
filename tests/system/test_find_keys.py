"""Extended keys, and `minipacs reindex`, on the real process."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.support.finder import UNSUPPORTED, Finder, text
from tests.support.objects import ct, encode
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.storing import quarantined
from tests.support.wire import CT, EXPLICIT, IMPLICIT

KEYS = """[index]
keys = ["ScanOptions", "SERIES:00181020", "MedicalAlerts", '0019,"GEMS_ACQU_01",02', 'STUDY:0029,"ACME",10']
"""
ROWS = ("patient", "study", "series", "instance", "instance_value", "series_value", "study_value", "patient_value")


def objects() -> list[Dataset]:
    made = []
    for n in range(4):
        ds = ct(PatientID=f"P{n}", ScanOptions=["HELICAL MODE", f"X{n}"], SoftwareVersions=f"v{n}", MedicalAlerts="Ä")
        ds.SpecificCharacterSet = "ISO_IR 100"
        for _ in range(n):  # the block of a creator is another in each object
            ds.private_block(0x0019, f"FILL{_}", create=True)
        ds.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x02, "SL", 100 + n)
        ds.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", "same" if n < 2 else "other")
        ds.private_block(0x0029, "OTHER", create=True).add_new(0x10, "LO", "not ours")
        made.append(ds)
    return made


def store(server: Server) -> None:
    with Sender(server.port, (CT, EXPLICIT), (CT, IMPLICIT)) as sender:
        for n, ds in enumerate(objects()):
            assert sender.store(ds, IMPLICIT if n % 2 else EXPLICIT).status == 0


def check(server: Server) -> None:
    """Match and return every extended key."""
    with Finder(server.port) as wire:
        assert wire.find("IMAGE", ScanOptions="X2").all("ScanOptions") == ["HELICAL MODE\\X2"]
        assert len(wire.find("IMAGE", ScanOptions="HELICAL*").answers) == 4
        assert wire.find("SERIES", SoftwareVersions="v?").all("SoftwareVersions") == ["v0", "v1", "v2", "v3"]
        assert wire.find("STUDY", MedicalAlerts="Ä", PatientID="P1").all("MedicalAlerts") == ["Ä"]
        (answer,) = wire.find(
            "IMAGE", PatientID="", **{"00190033": "GEMS_ACQU_01", "00193302": (102).to_bytes(4, "little")}
        ).answers
        assert (text(answer, "PatientID"), answer[0x00190033].value) == ("P2", "GEMS_ACQU_01")
        assert 0x00193302 in answer
        found = wire.find("STUDY", PatientID="", **{"00290010": "ACME", "00291010": "same"})
        assert found.all("PatientID") == ["P0", "P1"]
        found = wire.find("STUDY", **{"00290010": "OTHER", "00291010": "not ours"})
        assert set(found.pending) == {UNSUPPORTED}
        assert wire.find("STUDY", ScanOptions="X2").pending == [UNSUPPORTED] * 4


def test_extended_keys_are_matched_and_returned(start_server: Callable[..., Server]):
    server = start_server(more=KEYS)
    store(server)
    check(server)


def set_keys(server: Server, keys: str) -> None:
    config = server.config.read_text()
    server.config.write_text(config.partition("[index]")[0] + keys)


def query(server: Server, sql: str, *values: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.data / "index.db")) as connection, connection:
        return connection.execute(sql, values).fetchall()


def set_availability(server: Server, path: Path) -> None:
    query(server, "UPDATE instance SET availability = 'UNAVAILABLE' WHERE digest = ?", path.stem)


def spoil(path: Path) -> None:
    """Change the last byte of a file."""
    path.chmod(0o640)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def rows_of(server: Server) -> dict[str, list[dict[str, object]]]:
    """Give the rows by table in the order in which they were first made, with what they refer to in place of numbers.

    Numbers are never given twice: rows that are made anew have others. Headings are left out: new keys change them.
    """
    found: dict[str, list[dict[str, object]]] = {}
    with closing(sqlite3.connect(server.data / "index.db")) as connection:
        connection.row_factory = sqlite3.Row
        names: dict[tuple[str, object], object] = {}
        for table in ("patient", "study", "series", "instance"):
            names |= {(table, row["id"]): _name(row) for row in connection.execute(f"SELECT * FROM {table}")}
        for table in ROWS:
            order = "owner_id, keyword" if table.endswith("_value") else "id"
            rows = map(dict, connection.execute(f"SELECT * FROM {table} ORDER BY {order}"))
            found[table] = [
                {k: names.get((_referred(table, k), v), v) for k, v in row.items() if k != "heading_id"} for row in rows
            ]
    return found


def _referred(table: str, column: str) -> str:
    """Name the table whose numbers a column holds, "" if it holds none."""
    above = {"study": "patient", "series": "study", "instance": "series"}.get(table, "")
    return {"id": table, "parent_id": above, "owner_id": table.removesuffix("_value")}.get(column, "")


def _name(row: sqlite3.Row) -> object:
    """Say what a row is about: its UID, or the ID of a patient."""
    keys = ("sop_instance_uid", "series_instance_uid", "study_instance_uid")
    names = [row[key] for key in keys if key in row.keys()]  # noqa: SIM118  a row is no mapping
    return names[0] if names else (row["patient_id"], row["issuer_of_patient_id"], row["only_study_uid"])


def test_reindex_fills_new_keys_for_what_is_stored(start_server: Callable[..., Server]):
    server = start_server(more='[[peer]]\ntitle = "TEST"\n')
    store(server)
    server.stop()
    before = rows_of(server)
    set_keys(server, KEYS)
    server.start()
    warning = server.wait_for(lambda line: line.get("event") == "keys not filled for what is stored")
    assert "SERIES:SoftwareVersions" in str(warning["keys"])
    with Finder(server.port) as wire:
        assert wire.find("SERIES", SoftwareVersions="v1").answers == []
    server.stop()
    done = run("reindex", "--json", config=server.config)
    assert json.loads(done.stdout) == {"indexed": 4, "adopted": 0, "kept": 0, "refused": 0, "faults": {}}
    assert done.stderr == ""
    server.start()
    check(server)
    assert not [line for line in server.lines if line.get("event") == "keys not filled for what is stored"]
    server.stop()
    assert {t: rows for t, rows in rows_of(server).items() if "_value" not in t} == {
        t: rows for t, rows in before.items() if "_value" not in t
    }
    assert sorted(path.name for path in server.data.glob("index.db.*")) == ["index.db.lock"]


def test_reindex_refuses_beside_a_running_archive(start_server: Callable[..., Server]):
    server = start_server()
    store(server)
    done = run("reindex", config=server.config, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "in use by another minipacs daemon" in done.stderr
    with Finder(server.port) as wire:
        assert len(wire.find("STUDY").answers) == 4
    server.stop()
    assert run("reindex", config=server.config).stdout == (
        "4 indexed, 0 without a row before, 0 kept as unavailable, 0 not indexed\n"
    )


def published(server: Server, ds: Dataset) -> Path:
    (row,) = [row for row in server.objects() if encode(ds) in row.read_bytes()]
    return row


def test_reindex_keeps_rows_whose_file_is_missing_or_damaged(start_server: Callable[..., Server]):
    server = start_server(more=KEYS)
    sent = [objects()[0], *(ct(StudyInstanceUID=f"1.2.{n}", PatientName=f"N{n}") for n in range(4))]
    with Sender(server.port) as sender:
        for ds in sent:
            assert sender.store(ds).status == 0
    server.stop()
    before = rows_of(server)
    missing, short, damaged, absurd, _ = (published(server, ds) for ds in sent)
    missing.unlink()
    for path, data in ((short, short.read_bytes()[:-2]), (absurd, b"")):
        path.chmod(0o640)
        path.write_bytes(data)
    set_availability(server, damaged)
    spoil(damaged)
    done = run("reindex", "--json", config=server.config, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["indexed"], found["kept"], len(found["faults"])) == (1, 1, 4, 4)
    assert found["faults"][missing.stem] == "the file is missing"
    server.start()
    with Finder(server.port) as wire:
        answers = wire.find("IMAGE", SOPInstanceUID="", InstanceAvailability="", PatientName="").answers
        states = {text(a, "SOPInstanceUID"): text(a, "InstanceAvailability") for a in answers}
        assert states == {ds.SOPInstanceUID: "UNAVAILABLE" for ds in sent[:4]} | {sent[4].SOPInstanceUID: "ONLINE"}
        assert wire.find("IMAGE", ScanOptions="X0").all("ScanOptions") == ["HELICAL MODE\\X0"]
    with Sender(server.port) as sender:
        for ds in sent:
            assert sender.store(ds).status == 0
    server.stop()
    assert rows_of(server) == before


def test_reindex_heals_what_was_unavailable_and_is_whole(start_server: Callable[..., Server]):
    server = start_server()
    store(server)
    server.stop()
    set_availability(server, server.objects()[0])
    assert run("reindex", config=server.config).returncode == 0
    assert {row[0] for row in query(server, "SELECT availability FROM instance")} == {"ONLINE"}


def test_reindex_refuses_an_empty_folder_of_objects(start_server: Callable[..., Server]):
    server = start_server()
    store(server)
    server.stop()
    for path in server.objects():
        path.unlink()
    done = run("reindex", config=server.config, check=False)
    assert done.returncode == 1
    assert "is the storage folder mounted?" in done.stderr
    assert len(rows_of(server)["instance"]) == 4


def test_reindex_adopts_whole_files_without_a_row_only(start_server: Callable[..., Server]):
    server = start_server()
    store(server)
    server.stop()
    first, second, *_ = server.objects()
    query(server, "DELETE FROM instance WHERE digest IN (?, ?)", first.stem, second.stem)
    spoil(second)
    done = run("reindex", config=server.config, check=False)
    assert done.returncode == 1
    assert "the file's bytes do not have its digest" in done.stderr
    assert done.stdout == "2 indexed, 1 without a row before, 0 kept as unavailable, 1 not indexed\n"
    assert list(quarantined(server.data)) == [second.stem]


def test_reindex_makes_a_lost_index_anew(start_server: Callable[..., Server]):
    server = start_server(more=KEYS)
    store(server)
    server.stop()
    for path in server.data.glob("index.db*"):
        path.unlink()
    assert run("reindex", config=server.config).returncode == 0
    server.start()
    check(server)


@pytest.mark.parametrize(
    "key", ["NoSuchKeyword", "PatientID", "PixelData", "0008000", '0008,\\"ACME\\",10', "FRAME:ScanOptions", "00080000"]
)
def test_a_faulty_key_is_a_configuration_error(tmp_path: Path, key: str):
    config = tmp_path / "minipacs.toml"
    config.write_text(f'[index]\nkeys = ["{key}"]\n')
    done = run("check", config=config, check=False)
    assert done.returncode == 2
    assert "index.keys" in done.stderr


def test_the_same_key_twice_is_a_configuration_error(tmp_path: Path):
    config = tmp_path / "minipacs.toml"
    config.write_text('[index]\nkeys = ["ScanOptions", "00180022"]\n')
    done = run("check", config=config, check=False)
    assert (done.returncode, "is the same as" in done.stderr) == (2, True)


def test_find_command_knows_extended_keys_and_sequences(start_server: Callable[..., Server]):
    server = start_server(more=KEYS)
    store(server)
    out = run("find", "--level", "image", "--json", "ScanOptions=X3", config=server.config).stdout
    (row,) = json.loads(out)
    assert (row["ScanOptions"], row['0019,"GEMS_ACQU_01",02'], row["PatientID"]) == ("HELICAL MODE\\X3", "103", "P3")
    assert run("find", "STUDY:ScanOptions=X3", config=server.config, check=False).returncode == 2
