import io
import json
import logging
import os
import re
import subprocess
import sys
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs import log

TEXT = log.TextFormatter()
JSON = log.JsonFormatter()


def record(event="C-STORE", level=logging.INFO, exc_info=None, /, **fields):
    made = logging.LogRecord("minipacs", level, "", 0, event, (), exc_info)
    made.created = 1767323045.5
    made.fields = fields
    return made


def with_traceback(message):
    try:
        raise ValueError(message)
    except ValueError:
        return record("bug", logging.ERROR, sys.exc_info(), association=7)


def test_a_text_line():
    line = TEXT.format(record(association=7, peer="CT1", status="0000", duration_s=0.00123456789))
    assert line == "2026-01-02T03:04:05.500Z INFO  C-STORE association=7 peer=CT1 status=0000 duration_s=0.001235"


def test_a_json_line():
    line = JSON.format(record(association=7, status="0000", duration_s=0.25, whole=True))
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.500Z",
        "level": "info",
        "event": "C-STORE",
        "association": 7,
        "status": "0000",
        "duration_s": 0.25,
        "whole": True,
    }


def test_a_record_without_fields_is_a_line():
    plain = logging.LogRecord("somewhere", logging.WARNING, "", 0, "%s of %s", (1, 2), None)
    assert TEXT.format(plain).endswith("Z WARN  1 of 2")
    assert json.loads(JSON.format(plain))["event"] == "1 of 2"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1.2.840", "1.2.840"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("back\\slash", r'"back\\slash"'),
        ("line\nend\r", r'"line\nend\r"'),
        ("\x1b[31mred\x07", r'"\x1b[31mred\x07"'),
        ("right\u202eto left", r'"right\u202eto left"'),
        ("Müller", '"Müller"'),
        ("\udcff", r'"\udcff"'),
        (("a", "b"), "\"('a', 'b')\""),
    ],
)
def test_text_values_are_escaped(value, shown):
    assert TEXT.format(record(key=value)).endswith(f" C-STORE key={shown}")


@given(st.text(), st.dictionaries(st.sampled_from(["time", "level", "event", "peer"]), st.text() | st.binary()))
def test_no_value_forges_a_line_or_reaches_a_terminal(event, fields):
    text, line = TEXT.format(record(event, **fields)), JSON.format(record(event, **fields))
    assert all(c.isprintable() or category(c) == "Zs" for c in text), "blanks of any width do no harm"
    assert line.isprintable()
    assert line.isascii()
    read = json.loads(line)
    assert (read["time"], read["level"]) == ("2026-01-02T03:04:05.500Z", "info")
    assert len(text) < 5 * 10 * (log.MAX_VALUE_CHARS + 20)


def test_facts_that_do_not_apply_are_left_out():
    assert TEXT.format(record(status=None, count=0)).endswith(" C-STORE count=0")
    assert "status" not in json.loads(JSON.format(record(status=None)))


def test_long_values_are_cut():
    value = "x" * (log.MAX_VALUE_CHARS + 1)
    cut = "x" * log.MAX_VALUE_CHARS + "..."
    assert TEXT.format(record(key=value)).endswith(f' key="{cut}"')
    assert json.loads(JSON.format(record(key=value)))["key"] == cut
    assert TEXT.format(record(key=value[1:])).endswith(f" key={value[1:]}")


def test_a_traceback_cannot_forge_lines():
    lines = TEXT.format(with_traceback("bad\n2026-01-02T03:04:05.500Z INFO  C-STORE\x1b")).splitlines()
    assert lines[0].endswith(" ERROR bug association=7")
    assert len(lines) > 3
    assert all(line.startswith("  | ") and line.isprintable() for line in lines[1:])


def test_a_traceback_is_a_field_in_json():
    read = json.loads(JSON.format(with_traceback("bad\nvalue")))
    assert read["exception"].startswith("Traceback")
    assert read["exception"].endswith("ValueError: bad\nvalue")


def test_a_long_traceback_keeps_its_end():
    read = json.loads(JSON.format(with_traceback("x" * 100_000 + "end")))
    assert len(read["exception"]) == log.MAX_TRACEBACK_CHARS
    assert read["exception"].endswith("end")


def test_the_time_moves_on():
    later = record()
    later.created += 1.0
    assert TEXT.format(record()).startswith("2026-01-02T03:04:05.500Z ")
    assert TEXT.format(later).startswith("2026-01-02T03:04:06.500Z ")
    assert TEXT.format(record()).startswith("2026-01-02T03:04:05.500Z ")


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2), (35, 3)],
)
def test_under_journald_every_line_begins_with_its_priority(level, priority):
    assert log.TextFormatter(journal=True).format(record("C-STORE", level, n=1)) == f"<{priority}>C-STORE n=1"
    assert log.JsonFormatter(journal=True).format(record("C-STORE", level)).startswith(f'<{priority}>{{"time"')
    bug = log.TextFormatter(journal=True).format(with_traceback("bad"))
    assert all(line.startswith("<3>") for line in bug.splitlines())


def test_journald_is_recognised_by_its_stream(monkeypatch, tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert log.is_journal(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert not log.is_journal(stream.fileno())


def run(script, level="info", format="text", stderr=subprocess.PIPE):
    start = f"import logging, warnings; from minipacs import log; log.setup({level!r}, {format!r})\n"
    return subprocess.run([sys.executable, "-c", start + script], stderr=stderr, check=True, timeout=60).stderr


def test_setup_writes_lines_to_standard_error_from_the_level_on():
    script = """
logger = logging.getLogger("minipacs.net")
logger.debug("hidden")
logger.info("shown", extra={"fields": {"peer": "MÜNCHEN 1"}})
log.setup("error", "text")
logger.warning("hidden")
logger.error("once")
"""
    lines = run(script).decode().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert len(lines) == 2
    assert re.fullmatch(stamp + ' INFO  shown peer="MÜNCHEN 1"', lines[0])
    assert re.fullmatch(stamp + " ERROR once", lines[1])


def test_libraries_are_heard_from_warnings_on_and_those_that_quote_peers_not_at_all():
    script = """
logging.getLogger("peewee").debug("SELECT 'DOE^JOHN'")
logging.getLogger("other").info("hidden")
logging.getLogger("other").warning("shown")
for name in ("pynetdicom", "pynetdicom.acse", "pydicom", "pydicom.valuerep"):
    logging.getLogger(name).critical("DOE^JOHN")
import pydicom.valuerep
pydicom.valuerep.DSfloat("1" * 20, validation_mode=1)
"""
    [line] = run(script, level="debug").decode().splitlines()
    assert line.endswith(" WARN  shown")


def test_a_log_that_nobody_reads_ends_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    run('import sys; logging.getLogger("minipacs").info("lost"); sys.exit(0)', stderr=writer)
    os.close(writer)


def test_a_record_that_cannot_be_formatted_ends_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", told := io.StringIO())
    handler = log.StderrHandler()
    handler.setFormatter(TEXT)
    handler.emit(logging.LogRecord("minipacs", logging.INFO, "", 0, "%d", ("x",), None))
    assert "Logging error" in told.getvalue()


@pytest.mark.parametrize("formatter", [log.TextFormatter, log.JsonFormatter])
@pytest.mark.parametrize(
    ("identifiers", "level", "shown"),
    [(True, logging.DEBUG, True), (True, logging.INFO, False), (False, logging.DEBUG, False)],
)
def test_patients_are_named_at_debug_level_and_only_if_asked_for(formatter, identifiers, level, shown):
    told = record("query", level, keys="PatientID")
    told.patient = {"PatientID": "SECRET"}
    line = formatter(identifiers=identifiers).format(told)
    assert ("SECRET" in line) is shown
    assert "keys" in line
