"""Log lines on standard error: text for people, JSON for machines, priorities for journald.

A call gives a short event and its facts apart: `logger.info("C-STORE", extra={"fields": {"status": "0000"}})`. Facts
about patients go into `"patient"` beside `"fields"`, and are shown at debug level alone, if asked for. Whatever facts
hold, a record is one line (a traceback adds lines that are marked as such), and nothing in it can forge
another line or reach a terminal as a control sequence.
"""

import json
import logging
import os
import re
import syslog
import time
import warnings
from collections.abc import Iterable, Mapping
from unicodedata import category

MAX_VALUE_CHARS = 256
MAX_TRACEBACK_CHARS = 16384
STDERR = 2

SILENCED_LIBRARIES = ("pynetdicom", "pydicom")
"""Their messages quote what peers sent, patient attributes included; what matters of them is logged by us."""

_LEVELS: Mapping[int, tuple[str, str, str]] = {
    logging.DEBUG: ("DEBUG", "debug", "<7>"),
    logging.INFO: ("INFO ", "info", "<6>"),
    logging.WARNING: ("WARN ", "warning", "<4>"),
    logging.ERROR: ("ERROR", "error", "<3>"),
    logging.CRITICAL: ("FATAL", "critical", "<2>"),
}
"""As shown in text, in JSON, and the priority that journald reads (sd-daemon(3))."""

_bare_value = re.compile(rf"[!#-<>-\[\]-~]{{1,{MAX_VALUE_CHARS}}}").fullmatch


def setup(level: str, format: str, *, identifiers: bool = False) -> None:
    """Send the log to standard error from now on.

    `level`, `format` and `identifiers`, whether patients may be named, are those of the configuration. Libraries are
    heard from warnings on, those that are silenced not at all.
    """
    handler = StderrHandler()
    handler.setFormatter(FORMATTERS[format](journal=is_journal(STDERR), identifiers=identifiers))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("minipacs").setLevel(level.upper())
    for name in SILENCED_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=name)
    # What no formatter here shows, and a line would pay for: see "Optimization" in the logging HOWTO.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None


def is_journal(descriptor: int) -> bool:
    """Tell whether journald reads what is written to `descriptor` (systemd.exec(5), JOURNAL_STREAM)."""
    stream = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def to_system(event: str, fields: Mapping[str, object]) -> None:
    """Leave a line in the system's log (syslog(3)): for commands, whose standard error nobody keeps."""
    syslog.openlog("minipacs", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_NOTICE, line_of(event, fields.items()))
    syslog.closelog()


class StderrHandler(logging.Handler):
    """Writes each record with one system call, so that lines of several processes do not mix."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            os.write(STDERR, self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except OSError:
            pass  # the log's reader is gone or its disk is full: nobody can be told
        except Exception:
            self.handleError(record)


class LineFormatter(logging.Formatter):
    """What both formats share; `journal` leaves the time to journald and gives it the priority."""

    def __init__(self, *, journal: bool = False, identifiers: bool = False) -> None:
        super().__init__()
        self.journal = journal
        self.identifiers = identifiers
        self._second = (-1, "")

    def time_of(self, record: logging.LogRecord) -> str:
        """Give the record's time, RFC 3339 in UTC with milliseconds."""
        second, text = self._second
        if second != int(record.created):
            second = int(record.created)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{int((record.created - second) * 1000):03d}Z"

    def facts_of(self, record: logging.LogRecord) -> Iterable[tuple[str, object]]:
        """List the facts of a record, those about patients if they may be shown; those that are None do not apply."""
        facts: Mapping[str, object] = record.__dict__.get("fields", {})
        if self.identifiers and record.levelno <= logging.DEBUG:
            facts = {**facts, **record.__dict__.get("patient", {})}
        return ((key, value) for key, value in facts.items() if value is not None)

    def traceback_of(self, record: logging.LogRecord) -> str:
        """Give the record's traceback, its end when it is long; empty without one."""
        if not record.exc_info or not record.exc_info[0]:
            return ""
        return self.formatException(record.exc_info)[-MAX_TRACEBACK_CHARS:]


class TextFormatter(LineFormatter):
    """`2026-01-02T03:04:05.678Z INFO  C-STORE association=7 status=0000`, tracebacks on lines marked with a bar."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        shown, _, priority = _LEVELS.get(record.levelno, _LEVELS[logging.ERROR])
        lines = [line_of(printable(_cut(record.getMessage())), self.facts_of(record))]
        lines += [f"  | {printable(line)}" for line in self.traceback_of(record).splitlines()]
        start = priority if self.journal else f"{self.time_of(record)} {shown} "
        return start + f"\n{priority if self.journal else ''}".join(lines)


class JsonFormatter(LineFormatter):
    """`{"time": "2026-01-02T03:04:05.678Z", "level": "info", "event": "C-STORE", "association": 7}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; a fact cannot take the place of its time, level or event."""
        _, level, priority = _LEVELS.get(record.levelno, _LEVELS[logging.ERROR])
        line = {"time": self.time_of(record), "level": level, "event": _cut(record.getMessage())}
        facts = {key: v if isinstance(v, int | float) else _cut(str(v)) for key, v in self.facts_of(record)}
        if traceback := self.traceback_of(record):
            facts["exception"] = traceback
        return (priority if self.journal else "") + json.dumps({**line, **facts, **line})


FORMATTERS: Mapping[str, type[LineFormatter]] = {"text": TextFormatter, "json": JsonFormatter}


def line_of(event: str, fields: Iterable[tuple[str, object]]) -> str:
    """Write an event and its facts on one line."""
    parts = [event]
    for key, value in fields:
        text = str(round(value, 6) if isinstance(value, float) else value)
        parts.append(f"{key}={text}" if _bare_value(text) else f"{key}={_quoted(text)}")
    return " ".join(parts)


def _quoted(text: str) -> str:
    inner = _cut(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(inner)}"'


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "..."


def printable(text: str) -> str:
    """Escape control characters, line ends, and what reorders or hides text on a terminal; blanks of any width stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or category(c) == "Zs" else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
