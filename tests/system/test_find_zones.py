"""C-FIND and time zones: kept ones are told, and times are adjusted where it is negotiated (PS3.4 C.5.1.1)."""

from collections.abc import Iterator

import pytest

from tests.support.finder import PATIENT_FIND, Finder, text
from tests.support.objects import ct
from tests.support.sender import Sender
from tests.support.server import Server

OFFSET = 0x00080201
ASKED = {"StudyDate": "", "StudyTime": "", "PatientBirthDate": "", "PatientID": ""}
NEGOTIATED = b"\0\0\0\1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("zones"))
    with Sender(server.port) as sender:
        for name, zone in (("BERLIN", "+0100"), ("TOKYO", "+0900"), ("NOWHERE", None)):
            ds = ct(PatientID=name, StudyDate="20240101", StudyTime="200000", PatientBirthDate="19700101")
            ds.PatientName = "Jürgen" if zone else "Anna"
            ds.SpecificCharacterSet = "ISO_IR 100"
            if zone:
                ds.TimezoneOffsetFromUTC = zone
            assert sender.store(ds).status == 0
    yield server
    server.end()


def test_x3_the_offset_is_kept_and_told_where_it_is_known(server: Server):
    with Finder(server.port) as wire:
        found = wire.find("STUDY", **ASKED, PatientName="", TimezoneOffsetFromUTC="+0900")
    assert len(found.answers) == 3
    zones = {text(a, "PatientID"): text(a, "TimezoneOffsetFromUTC") for a in found.answers if OFFSET in a}
    assert zones == {"BERLIN": "+0100", "TOKYO": "+0900"}
    assert set(found.all("StudyTime")) == {"200000"}


def test_x3_times_are_adjusted_if_that_is_negotiated(server: Server):
    with Finder(server.port, extended=NEGOTIATED) as wire:
        found = wire.find("STUDY", **ASKED, TimezoneOffsetFromUTC="+0900")
        times = {text(a, "PatientID"): (text(a, "StudyDate"), text(a, "StudyTime")) for a in found.answers}
        assert times["BERLIN"] == ("20240102", "040000")
        assert times["TOKYO"] == ("20240101", "200000")
        assert {a[OFFSET].value for a in found.answers} == {"+0900"}
        assert set(found.all("PatientBirthDate")) == {"19700101"}
        keys = {"StudyDate": "20240102", "StudyTime": "0300-05", "PatientID": ""}
        names = wire.find("STUDY", **keys, TimezoneOffsetFromUTC="+0900").all("PatientID")
        assert ("BERLIN" in names, "TOKYO" in names) == (True, False)
        (answer,) = wire.find("SERIES", StudyTime="04", PatientID="BERLIN", TimezoneOffsetFromUTC="+0900").answers
        assert (text(answer, "StudyTime"), OFFSET in answer) == ("040000", True)
        assert len(wire.find("IMAGE", ContentDate="", TimezoneOffsetFromUTC="-0500").answers) == 3


def test_x3_without_negotiation_or_an_offset_nothing_is_adjusted(server: Server):
    with Finder(server.port, extended=b"\1\1\1\0") as wire:
        found = wire.find("STUDY", StudyDate="20240101", StudyTime="2000", TimezoneOffsetFromUTC="+0900")
        assert len(found.answers) == 3
    with Finder(server.port, extended=NEGOTIATED) as wire:
        for keys in ({}, {"TimezoneOffsetFromUTC": ""}):
            assert len(wire.find("STUDY", StudyDate="20240101", StudyTime="2000", **keys).answers) == 3


def test_x3_an_offset_that_is_none_is_refused_where_it_counts(server: Server):
    with Finder(server.port, extended=NEGOTIATED) as wire:
        found = wire.find("STUDY", TimezoneOffsetFromUTC="CET")
        assert (found.status, found.final.offending) == (0xA900, [OFFSET])
    with Finder(server.port) as wire:
        assert len(wire.find("STUDY", TimezoneOffsetFromUTC="CET").answers) == 3
    with Finder(server.port, PATIENT_FIND, extended=NEGOTIATED) as wire:
        found = wire.find("PATIENT", PatientBirthDate="19700101", TimezoneOffsetFromUTC="+0900")
        assert len(found.answers) == 3
        assert not any(OFFSET in answer for answer in found.answers)
