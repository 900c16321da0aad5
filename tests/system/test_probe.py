"""`minipacs probe`: what it tells is what a send then does; nothing is sent by it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from tests.support.objects import ct, save
from tests.support.receiver import Receiver, only
from tests.support.server import run
from tests.system.test_routing import free_port, storescp

EXPLICIT, IMPLICIT, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.91"
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.22"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "minipacs.toml"
    path.write_text('[storage]\npath = "data"\nmin_free_bytes = 0\n')
    files = [save(ct(4), tmp_path / "a.dcm"), save(ct(4, PatientID="P2", SOPClassUID=SR), tmp_path / "b.dcm")]
    run("import", *files, get_testdata_file("JPEG2000.dcm"), config=path)
    return path


def told(config: Path, receiver: Receiver, *words: str, status: int = 0) -> dict[str, list[dict[str, object]]]:
    base = config.read_text().split("[[peer]]")[0]
    config.write_text(base + receiver.peer())
    done = run("probe", "RECEIVER", *words, "--json", config=config, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def goes(found: dict[str, list[dict[str, object]]]) -> dict[tuple[object, object], object]:
    return {(row["sop_class_uid"], row["transfer_syntax_uid"]): row["goes"] for row in found["objects"]}


def test_what_goes_as_stored_transcoded_or_not_at_all(config: Path):
    refuse = lambda proposed: None if proposed.abstract_syntax == SR else only(EXPLICIT, IMPLICIT)(proposed)  # noqa: E731
    with Receiver(accept=refuse) as receiver:
        found = told(config, receiver, status=1)
        kinds = goes(found)
        (jpeg,) = [kind for kind in kinds if kind[1] == JPEG_2000]
        assert kinds == {(CT, EXPLICIT): "as stored", (SR, EXPLICIT): "no", jpeg: "transcoded"}
        assert all(not call.received for call in receiver.settled()), "nothing is sent"
        done = run("send", "RECEIVER", "PatientID=*", config=config, check=False)
        assert "2 sent, 1 failed" in done.stdout
        only_ct = told(config, receiver, "PatientID=P1")
        assert goes(only_ct) == {(CT, EXPLICIT): "as stored"}


def test_more_than_an_association_can_hold(config: Path):
    with Receiver() as receiver:
        found = told(config, receiver, "--all")
        assert int(str(found["associations"])) == len(receiver.settled()) > 2
        assert all(len(call.contexts) <= 128 for call in receiver.calls)
        asked = {
            (context.abstract_syntax, *context.transfer_syntaxes)
            for call in receiver.calls
            for context in call.contexts
        }
        assert len(asked) == sum(len(call.contexts) for call in receiver.calls), "each once"
        assert len(found["objects"]) > 150
        assert {row["goes"] for row in found["objects"]} == {"as stored"}


def test_storescp_and_an_archive_tell_their_limits_and_services(
    config: Path, tmp_path: Path, start_server: Callable[..., object]
):
    port = free_port()
    base = config.read_text()
    server = start_server(storage="")
    peers = (("SCP", port), ("OTHER", server.port))
    config.write_text(base + "".join(f'[[peer]]\ntitle = "{t}"\nhost = "127.0.0.1"\nport = {p}\n' for t, p in peers))
    (tmp_path / "arrived").mkdir()
    with storescp(port, tmp_path / "arrived", "SCP"):
        done = run("probe", "SCP", config=config, check=False)
        while "cannot connect" in done.stderr:
            done = run("probe", "SCP", config=config, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "implementation version name: OFFIS_DCMTK" in done.stdout
    assert "max pdu bytes: 16384" in done.stdout
    other = json.loads(run("probe", "OTHER", "--json", config=config).stdout)
    services = {row["class"]: row for row in other["services"]}
    assert services["Verification SOP Class"]["goes"] == "accepted"
    assert services["Storage Commitment Push Model SOP Class"]["goes"] == "accepted"
    assert [row["goes"] for row in other["objects"]] == ["as stored"] * 3
    assert all(row["as_scp"] for row in other["objects"]), "it would send us by C-GET"


def test_a_peer_that_is_away_or_unknown_is_told(config: Path):
    config.write_text(config.read_text() + f'[[peer]]\ntitle = "AWAY"\nhost = "127.0.0.1"\nport = {free_port()}\n')
    for words, text in (("AWAY", "Connection refused"), ("NOBODY", "no [[peer]] is called")):
        done = run("probe", words, config=config, check=False)
        assert (done.returncode, text in done.stderr) == (1, True), done.stderr
