"""Routes to servers of DICOMweb: each object arrives as it is, what is refused is named alone, breaks lose nothing."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from minipacs.archive.ingest import StoragePolicy
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.index import Query
from tests.support.certificates import Authority
from tests.support.listener import Listener, Posted
from tests.support.objects import ct, save
from tests.support.server import Server, run
from tests.support.web import Web
from tests.support.wire import free_port
from tests.system.test_routing import QUICK, command, queue, route, routed, send, study
from tests.system.test_web import TLS

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"


def cloud(url: str, more: str = "") -> str:
    return f'[[dicomweb]]\nname = "CLOUD"\nurl = "{url}"\n{more}\n'


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Web]:
    """Serve another archive."""
    served = Web(tmp_path / "there", policy=StoragePolicy(max_instance_bytes=300_000))
    yield served
    served.close()


def held(web: Web) -> dict[str, str]:
    index = web.archive.index
    uids = [uid for (uid,) in index.find(Query("IMAGE", [], [BY_KEYWORD["SOPInstanceUID"]]))]
    found = index.instances({"SOPInstanceUID": uids}) if uids else []
    return {instance.sop_instance_uid: instance.transfer_syntax_uid for instance in found}


def test_each_object_arrives_as_it_is(start_server: Callable[..., Server], tmp_path: Path, there: Web):
    server = start_server(more=QUICK + cloud(there.service) + route(to="stow:CLOUD"))
    folder = tmp_path / "a"
    folder.mkdir()
    made = [ct(4) for _ in range(40)]
    for number, ds in enumerate(made):
        save(ds, folder / f"{number}", (EXPLICIT, IMPLICIT, BIG)[number % 3])
    jpeg = get_testdata_file("JPEG2000.dcm")
    run("import", folder, jpeg, config=server.config)
    routed(server, 41)
    found = held(there)
    assert {*found} > {ds.SOPInstanceUID for ds in made}
    assert sorted(set(found.values())) == [EXPLICIT, "1.2.840.10008.1.2.4.91"]
    names = {path.name for path in (tmp_path / "there").glob("objects/*/*.dcm")}
    assert len(names & {path.name for path in server.objects()}) == 15, "what was explicit is the same file"
    assert server.metric("minipacs_route_sent_total", route="all", peer="stow:CLOUD") == 41
    assert queue(server) == []
    server.no_traceback()


def test_what_is_refused_is_named_alone(start_server: Callable[..., Server], tmp_path: Path, there: Web):
    server = start_server(more=QUICK + cloud(there.service) + route(to="stow:CLOUD"))
    made = study(5)
    large = ct(512, StudyInstanceUID=made[0].StudyInstanceUID)
    send(server, [*made[:2], large, *made[2:]], tmp_path / "a")
    routed(server)
    assert {*held(there)} == {ds.SOPInstanceUID for ds in made}
    (dead,) = queue(server)
    assert (dead["state"], dead["only"]) == ("dead", [large.SOPInstanceUID])
    assert "answered with status C" in str(dead["fault"])
    assert len(there.requests) == 1, "all went in one"


def test_a_token_is_shown_and_read_anew(start_server: Callable[..., Server], tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("first\n")

    def answer(posted: Posted, number: int) -> int:
        token.write_text("second")
        return 200 if posted.headers["authorization"] == "Bearer second" else 401

    with Listener(answer) as listener:
        server = start_server(
            more=QUICK + cloud(f"{listener.url}/base/", f'token_file = "{token}"') + route(to="stow:CLOUD")
        )
        send(server, study(1), tmp_path / "a")
        routed(server)
        assert [posted.path for posted in listener.posted] == ["/base/studies"] * 2
        assert "answered with 401" in str(server.events("not routed yet")[0]["reason"])
        assert not [line for line in server.raw if "Bearer" in line or "second" in line]


def test_a_batch_that_is_refused_is_halved_until_the_object_is_found(
    start_server: Callable[..., Server], tmp_path: Path
):
    made = study(9)
    bad = made[4].SOPInstanceUID.encode()
    with Listener(lambda posted, number: 415 if bad in posted.body else 200) as listener:
        server = start_server(more=QUICK + cloud(listener.url) + route(to="stow:CLOUD"))
        sent = send(server, made, tmp_path / "a")
        routed(server)
        (dead,) = queue(server)
        assert (dead["only"], dead["fault"]) == ([bad.decode()], f"{bad.decode()}: answered with 415")
        taken = b"".join(posted.body for posted in listener.posted if bad not in posted.body)
        assert taken.count(b"Content-Type: application/dicom;") == 8
        assert all(uid.encode() in taken for uid in sent if uid.encode() != bad)


def test_what_may_pass_is_tried_again_and_what_was_taken_is_not(start_server: Callable[..., Server], tmp_path: Path):
    made = study(3)
    answers = [503, None, 202, 200]
    listed = {
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [made[0].SOPInstanceUID]}}]},
        "00081198": {
            "vr": "SQ",
            "Value": [
                {
                    "00081155": {"vr": "UI", "Value": [made[1].SOPInstanceUID]},
                    "00081197": {"vr": "US", "Value": [0xA700]},
                }
            ],
        },
    }

    def answer(posted: Posted, number: int) -> int | None:
        return answers.pop(0) if answers else 200

    with Listener(answer, json.dumps(listed).encode()) as listener:
        server = start_server(more=QUICK + cloud(listener.url) + route(to="stow:CLOUD"))
        send(server, made, tmp_path / "a")
        line = routed(server, event="not routed yet")[0]
        assert "answered with 503" in str(line["reason"])
        server.wait_for(lambda at: "answered with status A700" in str(at.get("reason")), 40)
        routed(server, event="not routed yet", count=2)
        bodies = [posted.body for posted in listener.posted]
        assert all(made[0].SOPInstanceUID.encode() in body for body in bodies[:2])


def test_a_server_that_takes_all_and_never_answers_holds_up_nothing(
    start_server: Callable[..., Server], tmp_path: Path, there: Web
):
    never = threading.Event()
    other = f'[[dicomweb]]\nname = "DEAF"\nurl = "PLACE"\n{route("deaf", "stow:DEAF")}'
    with Listener(lambda posted, number: never.wait(40) and None) as listener:
        server = start_server(
            more="[timeouts]\ndimse = 1\n"
            + QUICK
            + cloud(there.service)
            + route(to="stow:CLOUD")
            + other.replace("PLACE", listener.url)
        )
        sent = send(server, study(1), tmp_path / "a")
        routed(server)
        (line,) = routed(server, event="not routed yet")
        assert ("no answer in time" in str(line["reason"]), line["peer"]) == (True, "stow:DEAF")
        assert {*held(there)} == {*sent}
        assert [row["peer"] for row in queue(server)] == ["stow:DEAF"]
        never.set()


def test_a_certificate_is_checked(start_server: Callable[..., Server], tmp_path: Path):
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("pacs")
    site = tmp_path / "site"
    site.mkdir()
    (site / "our.pem").write_bytes(pair.certificate.read_bytes())
    (site / "our.key").write_bytes(pair.key.read_bytes())
    port = free_port()
    other = Server(site, more=TLS.format(web=port).replace("[tls]", 'anonymous = ["read", "store"]\n[tls]'))
    try:
        here = cloud(f"https://localhost:{port}/dicom-web") + route(to="stow:CLOUD")
        server = start_server(more=QUICK + here)
        (uid,) = send(server, study(1), tmp_path / "a")
        (line,) = routed(server, event="not routed yet")
        assert "its certificate is not trusted" in str(line["reason"])
        text = server.config.read_text()
        server.config.write_text(f'{text}\n[tls]\nca = "{authority.certificate}"\n')
        server.reload()
        routed(server)
        rows = json.loads(command(other, "find", "--level", "image", "--json", "PatientID=*").stdout)
        assert [row["SOPInstanceUID"] for row in rows] == [uid]
    finally:
        other.stop()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (cloud("http://pacs.example.org"), "http:// to this machine only"),
        (route(to="stow:CLOUD"), "stow:NAME of a [[dicomweb]]"),
        (cloud("https://a.example.org") * 2, "must be unique"),
        (cloud("https://127.0.0.1", 'token_file = "nowhere"'), "cannot be read"),
        (cloud("https://127.0.0.1").replace("CLOUD", "../x"), "dicomweb[1].name"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, lines: str, words: str):
    config = tmp_path / "minipacs.toml"
    config.write_text(lines)
    refused = run("check", config=config, check=False)
    assert refused.returncode in (1, 2)
    assert words in refused.stderr + refused.stdout, refused.stderr + refused.stdout
