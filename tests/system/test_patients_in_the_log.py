"""`log.level = "debug"` tells what was asked for and what came; `log.identifiers` whose it is."""

from tests.support.finder import Finder
from tests.support.objects import ct
from tests.support.sender import Sender
from tests.support.server import Server

DEBUG = 'level = "debug"\n'


def logged(server: Server, settings: str) -> tuple[dict[str, object], dict[str, object]]:
    """Reload with other lines in `[log]`, then give the first lines about a query and an object."""
    as_it_was = server.config.read_text()
    assert DEBUG in as_it_was
    server.config.write_text(as_it_was.replace(DEBUG, settings))
    server.reload()
    server.config.write_text(as_it_was)
    begin = len(server.lines)
    with Finder(server.port) as finder:
        finder.find("STUDY", PatientName="SECRET*", StudyDate="20240101", AccessionNumber="")
    query = server.wait_for(lambda e: e["event"] in ("query", "C-FIND"), after=begin)
    with Sender(server.port) as sender:
        assert sender.store(ct(PatientID="SECRET-ID", PatientName="Secret^Name")).status == 0
    return query, server.wait_for(lambda e: e["event"] in ("object", "C-STORE"), after=begin)


def test_patients_are_named_at_debug_level_and_only_if_asked_for(server: Server) -> None:
    query, stored = logged(server, "")
    assert (query["event"], stored["event"]) == ("C-FIND", "C-STORE")
    query, stored = logged(server, DEBUG)
    assert (query["event"], query["level"]) == ("query", "debug")
    assert {"PatientName", "StudyDate", "AccessionNumber"} <= set(str(query["keys"]).split())
    assert (stored["event"], stored["Modality"]) == ("object", "CT")
    assert "SECRET" not in "".join(server.raw).upper()
    query, stored = logged(server, DEBUG + "identifiers = true\n")
    assert (query["PatientName"], query["StudyDate"]) == ("SECRET*", "20240101")
    assert "AccessionNumber" not in query
    assert (stored["PatientID"], stored["PatientName"]) == ("SECRET-ID", "Secret^Name")
