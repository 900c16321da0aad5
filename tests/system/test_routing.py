"""Routes: what comes goes on by rules, whatever happens to the peer; what cannot is named, alone."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.support import dcmtk
from tests.support.objects import ct, save_all
from tests.support.receiver import Receiver, only
from tests.support.server import Server, run
from tests.support.wire import Wire, free_port

WAIT_S = 40
QUICK = "[study]\nquiet_s = 0.3\n[queue]\nretry_s = 0.3\nretry_max_s = 0.5\n"


def route(name: str = "all", to: str = "RECEIVER", more: str = "") -> str:
    return f'[[route]]\nname = "{name}"\nto = "{to}"\n{more}\n'


def study(count: int, uid: str = "", **values: object) -> list[Dataset]:
    uid = uid or generate_uid()
    return [ct(4, StudyInstanceUID=uid, InstanceNumber=n, **values) for n in range(count)]


def send(server: Server, made: Sequence[Dataset], folder: Path, title: str = "CT1") -> list[str]:
    folder.mkdir()
    dcmtk.client("storescu", server.port, "-aet", title, *save_all(list(made), folder))
    return [ds.SOPInstanceUID for ds in made]


def routed(server: Server, count: int = 1, event: str = "routed", after: int = 0) -> list[dict[str, object]]:
    """Wait for so many lines of an event."""
    found = []
    for _ in range(count):
        line = server.wait_for(lambda at: at["event"] == event, WAIT_S, after)
        after = server.lines.index(line, after) + 1
        found.append(line)
    return found


def queue(server: Server) -> list[dict[str, object]]:
    return json.loads(command(server, "queue", "list", "--json").stdout)


def command(server: Server, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(*words, "--config", server.config, check=check)


def came(receiver: Receiver) -> list[str]:
    return [found.sop_instance_uid for found in receiver.received]


def test_a_study_goes_when_it_is_complete_and_then_only_what_is_new(
    start_server: Callable[..., Server], tmp_path: Path
):
    with Receiver() as receiver:
        server = start_server(more=QUICK + receiver.peer() + route())
        made = study(3)
        sent = send(server, made, tmp_path / "a")
        routed(server)
        assert sorted(came(receiver)) == sorted(sent)
        late = send(server, study(1, made[0].StudyInstanceUID), tmp_path / "b")
        routed(server, 2)
        assert came(receiver)[3:] == late
        assert len(receiver.calls) == 2, "one association each time"
        assert queue(server) == []
        assert server.metric("minipacs_route_sent_total", route="all", peer="RECEIVER") == 4


def test_the_rule_decides_and_its_test_tells_the_same(start_server: Callable[..., Server], tmp_path: Path):
    rule = 'match = ["ModalitiesInStudy=CT", "StudyDescription=*THORAX*"]\nfrom = ["CT1"]'
    with Receiver() as receiver:
        server = start_server(more=QUICK + receiver.peer() + route("thorax", more=rule))
        goes = send(server, study(2, StudyDescription="CT THORAX"), tmp_path / "a")
        other = send(server, study(1, StudyDescription="CT HEAD"), tmp_path / "b")
        foreign = send(server, study(1, StudyDescription="CT THORAX"), tmp_path / "c", title="CT2")
        back = send(server, study(1, StudyDescription="CT THORAX"), tmp_path / "d", title="RECEIVER")
        routed(server, 4, "study complete")
        routed(server)
        assert sorted(came(receiver)) == sorted(goes)
        rows = json.loads(command(server, "routes", "test", "thorax", "--json").stdout)
        told = {row["instance"]: row["why_not"] for row in rows}
        assert told == {
            **dict.fromkeys(goes, "RECEIVER has it"),
            other[0]: "match: StudyDescription=*THORAX*",
            foreign[0]: "from: it came from CT2",
            back[0]: "it came from RECEIVER",
        }
        (listed,) = json.loads(command(server, "routes", "list", "--json").stdout)
        assert (listed["name"], listed["from"]) == ("thorax", ["CT1"])


def test_a_dry_run_only_tells(start_server: Callable[..., Server], tmp_path: Path):
    with Receiver() as receiver:
        server = start_server(more=QUICK + receiver.peer() + route(more="dry_run = true"))
        send(server, study(2), tmp_path / "a")
        (line,) = routed(server, event="would be routed")
        assert (line["route"], line["peer"], line["instances"]) == ("all", "RECEIVER", 2)
        routed(server, event="study complete")
        assert queue(server) == []
        assert receiver.calls == []


def test_objects_go_as_they_come(start_server: Callable[..., Server], tmp_path: Path):
    with Receiver() as receiver:
        server = start_server(
            more="[study]\nquiet_s = 3000\n" + receiver.peer() + route(more='on = "stored"\nlevel = "instance"')
        )
        sent = send(server, study(3), tmp_path / "a")
        routed(server, 3)
        assert sorted(came(receiver)) == sorted(sent)


def test_a_peer_that_was_away_gets_all_once_it_is_back_and_others_do_not_wait(
    start_server: Callable[..., Server], tmp_path: Path
):
    port = free_port()
    away = f'[[peer]]\ntitle = "AWAY"\nhost = "127.0.0.1"\nport = {port}\n'
    with Receiver() as receiver:
        server = start_server(more=QUICK + away + receiver.peer() + route("a", "AWAY") + route("b", "RECEIVER"))
        sent = send(server, study(2), tmp_path / "a") + send(server, study(2), tmp_path / "b")
        routed(server, 2)
        assert sorted(came(receiver)) == sorted(sent)
        routed(server, 3, "not routed yet")
        assert {row["state"] for row in queue(server)} <= {"waiting", "sending"}
        assert server.metric("minipacs_route_waiting", route="a", peer="AWAY") == 2
        arrived = tmp_path / "arrived"
        arrived.mkdir()
        with storescp(port, arrived, "AWAY"):
            routed(server, 4)
    assert len(list(arrived.iterdir())) == 4
    assert queue(server) == []


def test_what_is_refused_for_good_is_given_up_alone(start_server: Callable[..., Server], tmp_path: Path):
    bad: list[str] = []
    with Receiver(answer=lambda wire, received, number: 0xA900 * (received.sop_instance_uid in bad)) as receiver:
        server = start_server(more=QUICK + receiver.peer() + route())
        made = study(5)
        bad.append(made[2].SOPInstanceUID)
        sent = send(server, made, tmp_path / "a")
        routed(server)
        assert sorted(came(receiver)) == sorted(sent), "each once"
        (dead,) = queue(server)
        assert (dead["state"], dead["only"]) == ("dead", bad)
        assert "answered with status A900" in str(dead["fault"])
        send(server, study(1, made[0].StudyInstanceUID), tmp_path / "b")
        routed(server, 2)
        assert came(receiver).count(bad[0]) == 1, "what is dead is not tried with what comes late"
        uid, bad[:] = bad[0], []
        command(server, "queue", "retry", dead["id"])
        server.reload()
        routed(server, 3)
        assert came(receiver).count(uid) == 2
        assert queue(server) == []


def test_what_may_pass_is_tried_again_and_what_was_delivered_is_not(
    start_server: Callable[..., Server], tmp_path: Path
):
    full = [True]

    def answer(wire: Wire, received: object, number: int) -> int:
        return 0xA700 if number == 1 and full.pop() else 0

    with Receiver(answer=answer) as receiver:
        server = start_server(more=QUICK + receiver.peer() + route())
        sent = send(server, study(3), tmp_path / "a")
        routed(server)
        assert sorted(came(receiver)) == sorted([*sent, came(receiver)[1]])
        assert queue(server) == []


def test_an_object_that_breaks_associations_holds_up_no_other(start_server: Callable[..., Server], tmp_path: Path):
    bad: list[str] = []
    with Receiver(answer=lambda wire, received, n: None if received.sop_instance_uid in bad else 0) as receiver:
        server = start_server(more=QUICK + receiver.peer() + route())
        made = study(4)
        bad.append(made[0].SOPInstanceUID)
        sent = send(server, made, tmp_path / "a")
        other = send(server, study(1), tmp_path / "b")
        routed(server)
        routed(server, 3, "not routed yet")
        assert {*came(receiver)} == {*sent, *other}
        assert [came(receiver).count(uid) for uid in (*sent[1:], *other)] == [1] * 4
        bad.clear()
        routed(server, 2)
        assert queue(server) == []


def test_a_syntax_that_the_peer_does_not_take_is_told(start_server: Callable[..., Server], tmp_path: Path):
    with Receiver(accept=only("1.2.840.10008.1.2.4.50")) as receiver:
        server = start_server(more=QUICK + receiver.peer() + route())
        send(server, study(1), tmp_path / "a")
        (line,) = routed(server, event="not routed")
        assert "no presentation context accepted" in str(line["reason"])
        assert [row["state"] for row in queue(server)] == ["dead"]


def test_storescp_that_refuses_or_aborts_gets_all_in_the_end(start_server: Callable[..., Server], tmp_path: Path):
    port = free_port()
    peer = f'[[peer]]\ntitle = "RECEIVER"\nhost = "127.0.0.1"\nport = {port}\n'
    server = start_server(more=QUICK + peer + route())
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    with storescp(port, arrived, "RECEIVER", "--refuse"):
        send(server, study(3), tmp_path / "a")
        routed(server, 2, "not routed yet")
    with storescp(port, arrived, "RECEIVER", "--abort-during"):
        routed(server, 2, "not routed yet", after=len(server.lines))
    with storescp(port, arrived, "RECEIVER"):
        routed(server)
    assert len([path for path in arrived.iterdir() if path.stat().st_size]) == 3


def test_what_is_away_for_too_long_is_given_up_and_can_be_revived(start_server: Callable[..., Server], tmp_path: Path):
    port = free_port()
    peer = f'[[peer]]\ntitle = "RECEIVER"\nhost = "127.0.0.1"\nport = {port}\n'
    server = start_server(more=QUICK + "give_up_h = 0.0003\n" + peer + route())
    send(server, study(1), tmp_path / "a")
    routed(server, event="not routed")
    (dead,) = queue(server)
    assert dead["state"] == "dead"
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    with storescp(port, arrived, "RECEIVER"):
        command(server, "queue", "retry", dead["id"])
        server.reload()
        routed(server)
    assert len(list(arrived.iterdir())) == 1


def test_items_are_held_shown_and_dropped(start_server: Callable[..., Server], tmp_path: Path):
    peer = f'[[peer]]\ntitle = "RECEIVER"\nhost = "127.0.0.1"\nport = {free_port()}\n'
    server = start_server(more=QUICK.replace("0.5", "3000").replace("0.3\nretry", "3000\nretry") + peer + route())
    made = study(1, NumberOfStudyRelatedInstances=1)
    send(server, made, tmp_path / "a")
    routed(server, event="not routed yet")
    (item,) = queue(server)
    command(server, "queue", "hold", item["id"])
    assert queue(server)[0]["state"] == "held"
    shown = json.loads(command(server, "queue", "show", item["id"]).stdout)
    assert (shown["route"], shown["study_uid"]) == ("all", made[0].StudyInstanceUID)
    command(server, "queue", "drop", item["id"])
    assert queue(server) == []
    refused = command(server, "queue", "drop", item["id"], check=False)
    assert (refused.returncode, "no item has the ID" in refused.stderr) == (1, True)


def test_the_urgent_goes_first(start_server: Callable[..., Server], tmp_path: Path):
    port = free_port()
    peer = f'[[peer]]\ntitle = "RECEIVER"\nhost = "127.0.0.1"\nport = {port}\n'
    server = start_server(more=QUICK + peer + route())
    usual, urgent = study(1), study(1)
    words = ["PatientName=Doe^Jane", "PatientID=P1", "AccessionNumber=A1", "RequestedProcedurePriority=STAT"]
    step = ["ScheduledStationAETitle=CT1", "ScheduledProcedureStepStartDate=20240115", "Modality=CT"]
    uid = f"StudyInstanceUID={urgent[0].StudyInstanceUID}"
    command(server, "worklist", "add", *words, *step, "ScheduledProcedureStepStartTime=1000", uid)
    first = send(server, usual, tmp_path / "a")
    routed(server, event="not routed yet")
    second = send(server, urgent, tmp_path / "b")
    routed(server, 2, "study complete")
    assert sorted(int(str(row["priority"])) for row in queue(server)) == [0, 2]
    with Receiver(port=port) as receiver:
        routed(server, 2)
        assert came(receiver) == second + first


def test_priors_go_along(start_server: Callable[..., Server], tmp_path: Path):
    with Receiver() as receiver:
        server = start_server(more=QUICK + receiver.peer() + route(more='priors = 1\nmatch = ["StudyDescription=NOW"]'))
        oldest = send(server, study(1, StudyDate="20200101"), tmp_path / "a")
        older = send(server, study(1, StudyDate="20210101"), tmp_path / "b")
        send(server, study(1, StudyDate="20220101", PatientID="P2"), tmp_path / "c")
        send(server, study(1, StudyDate="20220101", Modality="MR"), tmp_path / "d")
        routed(server, 4, "study complete")
        now = send(server, study(1, StudyDate="20240101", StudyDescription="NOW"), tmp_path / "e")
        routed(server, 2)
        assert sorted(came(receiver)) == sorted(now + older)
        assert oldest[0] not in came(receiver)


@pytest.mark.parametrize("kills", [3])
def test_nothing_is_lost_when_the_jobs_process_is_killed(
    start_server: Callable[..., Server], tmp_path: Path, kills: int
):
    at = [0]

    def answer(wire: Wire, received: object, number: int) -> int:
        if number in (3, 7, 12)[:kills]:
            at[0] += 1
            (pid,) = server.children("jobs")
            os.kill(pid, signal.SIGKILL)
        return 0

    with Receiver(answer=answer) as receiver:
        server = start_server(more=QUICK + receiver.peer() + route())
        sent = send(server, study(20), tmp_path / "a")
        routed(server)
        assert at == [kills]
        found = came(receiver)
    assert {*found} == {*sent}
    assert len(found) <= len(sent) + kills, "only what was on its way goes twice"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (route(), "must be the title of a [[peer]] that has a host"),
        (route(more='match = ["Nothing=1"]'), "Nothing is no key"),
        (route(more='match = ["StudyDate=soon"]'), "StudyDate"),
        (route(more='hours = "25-3"'), "hours"),
        (route() + route(), "must be unique"),
        (route(more='on = "stored"\npriors = 1'), 'needs on = "complete"'),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(tmp_path: Path, lines: str, told: str):
    config = tmp_path / "minipacs.toml"
    config.write_text(lines)
    refused = run("check", config=config, check=False)
    assert (refused.returncode, told in refused.stderr) == (2, True), refused.stderr


class storescp:
    """Run dcmtk's storescp."""

    def __init__(self, port: int, folder: Path, title: str, *options: str) -> None:
        words = [dcmtk.tool("storescp"), "-aet", title, "-od", str(folder), *options, str(port)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def test_what_can_be_retrieved_is_announced_and_told_again_when_more_comes(
    start_server: Callable[..., Server], tmp_path: Path
):
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import InstanceAvailabilityNotification

    told: list[Dataset] = []
    statuses = [0x0110, 0]

    def create(event: evt.Event) -> tuple[int, Dataset | None]:
        told.append(event.attribute_list)
        return statuses.pop(0) if statuses else 0, None

    entity = AE("RIS")
    entity.add_supported_context(InstanceAvailabilityNotification)
    ris = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_CREATE, create)])
    try:
        peer = f'[[peer]]\ntitle = "RIS"\nhost = "127.0.0.1"\nport = {ris.server_address[1]}\n'
        server = start_server(more=QUICK + peer + route(to="RIS", more="announce = true"))
        made = study(3)
        other_series = study(1, made[0].StudyInstanceUID)
        for ds in made:
            ds.SeriesInstanceUID = made[0].SeriesInstanceUID
        sent = send(server, [*made, *other_series], tmp_path / "a")
        routed(server)
        late = send(server, study(1, made[0].StudyInstanceUID), tmp_path / "b")
        routed(server, 2)
        failed, first, second = told
        assert failed == first, "told again as it was"
        assert first.StudyInstanceUID == made[0].StudyInstanceUID
        assert len(first.ReferencedPerformedProcedureStepSequence) == 0
        assert sorted(len(series.ReferencedSOPSequence) for series in first.ReferencedSeriesSequence) == [1, 3]
        named = [item for series in first.ReferencedSeriesSequence for item in series.ReferencedSOPSequence]
        assert sorted(item.ReferencedSOPInstanceUID for item in named) == sorted(sent)
        assert {(i.InstanceAvailability, i.RetrieveAETitle, i.ReferencedSOPClassUID) for i in named} == {
            ("ONLINE", "MINIPACS", made[0].SOPClassUID)
        }
        (series,) = second.ReferencedSeriesSequence
        assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == late
        assert queue(server) == []
    finally:
        ris.shutdown()


def test_to_be_told_of_objects_is_not_to_have_them(start_server: Callable[..., Server], tmp_path: Path):
    notice = "1.2.840.10008.5.1.4.33"
    with Receiver(accept=lambda p: None if p.abstract_syntax == notice else p.transfer_syntaxes[0]) as receiver:
        both = route("objects") + route("notice", more="announce = true")
        server = start_server(more=QUICK + receiver.peer() + both)
        sent = send(server, study(2), tmp_path / "a")
        (dead,) = routed(server, event="not routed")
        told = dead["route"], dead["reason"]
        assert told == ("notice", "Instance Availability Notification is not accepted")
        routed(server)
        assert sorted(came(receiver)) == sorted(sent)
