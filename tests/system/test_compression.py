"""`storage.compress` in a running archive: what was stored is compressed, and given out as ever."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from tests.support import dcmtk
from tests.support.objects import ct, encode, save, study
from tests.support.receiver import Receiver, only
from tests.support.retriever import get, move
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.wire import CT, EXPLICIT, IMPLICIT

J2K = "1.2.840.10008.1.2.4.90"
COMPRESS = 'compress = "jpeg2000-lossless"'


def compressed(server: Server, count: int) -> None:
    """Wait until so many objects are compressed."""
    server.wait_for(lambda line: len(server.events("compressed")) >= count, timeout_s=60)


def syntaxes(server: Server) -> list[str]:
    return [pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in server.objects()]


def fill(server: Server, instances: list[pydicom.Dataset]) -> None:
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in instances] == [0] * len(instances)


def test_what_is_stored_is_compressed_and_given_out_in_either_form(start_server: Callable[..., Server]) -> None:
    instances = study(instances=3, rows=64)
    with Receiver(only(IMPLICIT)) as receiver:
        server = start_server(storage=COMPRESS, more=receiver.peer())
        fill(server, instances)
        compressed(server, 3)
        assert syntaxes(server) == [J2K] * 3
        result = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
        assert result.counts == (3, 0, 0)
    assert [r.data for r in receiver.received] == [encode(ds, IMPLICIT) for ds in instances]
    fetched = get(server.port, (CT, J2K), (CT, EXPLICIT), level="STUDY", study=instances[0].StudyInstanceUID)
    assert {r.transfer_syntax for r in fetched.received} == {J2K}
    fill(server, instances)
    assert syntaxes(server) == [J2K] * 3
    assert server.metric("minipacs_compressions_total", outcome="compressed") == 3
    stored = sum(path.stat().st_size for path in server.objects())
    assert server.metric("minipacs_stored_bytes") == stored
    assert server.metric("minipacs_compression_saved_bytes_total") > stored
    assert run("verify", config=server.config).returncode == 0
    assert not server.quarantined()
    assert not server.incoming()


def test_what_was_stored_before_is_compressed_too_and_work_goes_on_after_a_kill(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    instances = [*study(instances=6, rows=256), ct(PixelData=None, Rows=None)]
    fill(server, instances)
    assert syntaxes(server) == [EXPLICIT] * 7
    server.stop()
    server.config.write_text(server.config.read_text().replace("[storage]\n", f"[storage]\n{COMPRESS}\n"))
    server.start()
    compressed(server, 2)
    server.kill()
    server.start()
    server.wait_for(lambda line: line.get("event") == "not compressed", timeout_s=60)
    assert sorted(syntaxes(server)) == sorted([EXPLICIT, *[J2K] * 6])
    assert run("verify", config=server.config).returncode == 0
    assert not server.quarantined()
    fetched = get(server.port, (CT, EXPLICIT), level="STUDY", study=instances[0].StudyInstanceUID)
    assert [r.data for r in fetched.received] == [encode(ds) for ds in instances[:6]]


def test_dcmtk_gets_and_decodes_what_was_compressed(start_server: Callable[..., Server], tmp_path: Path) -> None:
    server = start_server(storage=COMPRESS)
    ds = ct(64)
    dcmtk.client("storescu", server.port, save(ds, tmp_path / "sent.dcm"))
    compressed(server, 1)
    out = tmp_path / "got"
    out.mkdir()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ds.StudyInstanceUID}"]
    dcmtk.client("getscu", server.port, "-S", "-od", str(out), *keys)
    (path,) = out.iterdir()
    assert pydicom.dcmread(path).PixelData == ds.PixelData


@pytest.mark.parametrize("value", ['"jpeg"', "true"])
def test_other_codes_are_no_setting(tmp_path: Path, value: str) -> None:
    config = tmp_path / "minipacs.toml"
    config.write_text(f"[storage]\ncompress = {value}\n")
    done = run("check", config=config, check=False)
    assert done.returncode == 2
    assert "storage.compress" in done.stderr
