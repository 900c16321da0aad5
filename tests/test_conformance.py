"""The conformance statement says what the code does."""

import importlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from minipacs.cli import main
from minipacs.config.schema import SECTIONS
from minipacs.config.settings import settings_of
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.text import charset
from minipacs.net import access
from minipacs.pixels.codecs import decoder
from minipacs.services.offered import offered_classes
from tests.support.objects import ct
from tests.support.web import Web
from tests.web.test_retrieve import path_of

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/conformance.md").read_text()
SOURCES = [path.read_text() for path in (ROOT / "minipacs").rglob("*.py") if path.name != "statuses.py"]
LIMIT = r"`[a-z_.]+\.[A-Z_]+`"
UNITS = {"": 1, "s": 1, "characters": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def rows(first: str) -> list[list[str]]:
    """Return the cells of every table row whose first cell matches."""
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line[:1] == "|")
    return [row for row in cells if re.fullmatch(first, row[0])]


def section(title: str) -> str:
    """Return the text from a heading to the next."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def printed(tmp_path: Path, config: str) -> str:
    (tmp_path / "minipacs.toml").write_text(config)
    done = CliRunner().invoke(main, ["conformance", "--config", str(tmp_path / "minipacs.toml")])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_document_is_that_of_the_defaults(tmp_path: Path):
    assert printed(tmp_path, "") == TEXT, "run .venv/bin/python tools/generate.py"
    assert "<!--" not in TEXT


def test_the_statement_follows_the_configuration(tmp_path: Path):
    more = """
[ae]
title = "OURS|"
max_associations = 7
[timeouts]
idle = 12.5
[storage]
sop_classes = ["1.2.3.4"]
[index]
keys = ["SERIES:ScanOptions", '0009,"ACME",10']
[access]
identity = "require"
[audit]
syslog = "udp://10.0.0.9"
[[peer]]
title = "CT1"
host = "10.0.0.1"
allow = ["echo"]
"""
    lines = printed(tmp_path, more).splitlines()
    for line in (
        '| `ae.title` | `"OURS\\|"` |',
        "| `ae.max_associations` | `7` |",
        '| `access.policy` | `"open"` |',
        "| configured: 1.2.3.4 | `1.2.3.4` |",
        "| CT1 | 10.0.0.1 | 104 | echo | ISO_IR 100 |",
        '| B.5 User Identity plus Passcode Association | on: `access.identity = "require"` |',
        "| B.12 BCP 195 RFC 8996, 9325 TLS Secure Transport Connection | off: `tls.certificate` |",
        "| A.7 Audit Trail Message Transmission - SYSLOG-UDP | on: `udp://10.0.0.9` |",
        "| ScanOptions | (0018,0022) | CS | optional | single value, wildcard; any of its values |",
        '| 0009,"ACME",10 | (0009,0010) | LO | optional | single value, wildcard |',
    ):
        assert line in lines
    assert any(line.startswith("| `timeouts.idle` | 12.5 s |") for line in lines)


def test_a_faulty_configuration_is_told(tmp_path: Path):
    (tmp_path / "bad.toml").write_text("[ae]\nport = -1")
    done = CliRunner().invoke(main, ["conformance", "--config", str(tmp_path / "bad.toml")])
    assert done.exit_code == 2
    assert "ae.port" in done.output


@pytest.mark.parametrize(("constant", "value"), [(row[0].strip("`"), row[1]) for row in rows(LIMIT)])
def test_limits_are_those_of_the_code(constant: str, value: str):
    module, _, name = constant.rpartition(".")
    number, _, unit = value.partition(" ")
    assert getattr(importlib.import_module(f"minipacs.{module}"), name) == int(number) * UNITS[unit]


def test_there_are_limits():
    assert len(rows(LIMIT)) > 20


def test_status_codes_are_those_that_are_sent():
    codes = {name: value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)}
    sent = {f"{value:04X}" for name, value in codes.items() if any(re.search(rf"\b{name}\b", s) for s in SOURCES)}
    listed = {row[0] for row in rows("[0-9A-F]{4}")}
    assert listed == sent


def test_rejections_are_those_of_the_code():
    sent = {f"{r.result}/{r.source}/{r.reason}" for r in vars(access).values() if isinstance(r, access.Rejection)}
    assert set(re.findall(r"\| (\d/\d/\d) \|", section("3.1 Association policies"))) == sent


def test_extended_negotiation_is_answered_as_told():
    listed = {row[0]: row[1].strip("`") for row in rows("C-STORE|C-FIND|C-MOVE, C-GET")}
    names = {"store": "C-STORE", "find": "C-FIND", "retrieve": "C-MOVE, C-GET"}
    answers = {
        names[c.right]: c.answer_extended(b"\xff" * len(c.extended)) for c in offered_classes().values() if c.extended
    }
    assert listed == {name: answer.hex(" ") for name, answer in answers.items()}


def test_character_sets_are_supported():
    listed = re.findall(
        r"ISO_IR \d+|ISO 2022 IR \d+|GB18030|GBK",
        section("5 Character sets").partition("\n\n| ")[2].partition("\n\n")[0],
    )
    assert len(listed) == 32
    assert charset.unknown(listed) == ()


def test_what_is_said_to_be_decoded_can_be():
    told = section("4.5 Retrieve as SCP")
    assert "RLE Lossless, JPEG 2000 (.4.90, .4.91) and HTJ2K (.4.201 to .4.203)" in told
    for end in ("5", "4.90", "4.91", "4.201", "4.202", "4.203"):
        uid = f"1.2.840.10008.1.2.{end}"
        assert uid in TRANSFER_SYNTAXES
        assert decoder(uid)


def test_settings_that_are_named_exist():
    keys = {f"{name}.{key}" for name, section_ in SECTIONS.items() for key in settings_of(section_)}
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_]+)(?:`| = )", TEXT))
    assert named
    assert named <= keys


def test_resources_of_dicomweb_are_those_that_are_answered(tmp_path: Path):
    """Each row of the statement, held against a server: its methods are allowed, and others are not."""
    listed: dict[str, set[str]] = {}
    for method, path, *_ in rows("GET|POST|DELETE|PUT|OPTIONS"):
        listed.setdefault(path.strip("`"), set()).add(method)
    assert len(listed) > 25
    served = Web(tmp_path / "archive")
    try:
        for path, methods in listed.items():
            target = re.sub(r"\{frames\}", "1", re.sub(r"\{element\}", "7FE00010", path))
            answer = served.ask("PATCH", re.sub(r"\{[a-z_]+\}", "1.2.3", target))
            assert answer.status == 405, path
            told = set(answer.headers["allow"].split(", "))
            assert told == methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()), path
    finally:
        served.close()


def test_media_types_of_dicomweb_are_those_that_are_given(tmp_path: Path):
    served = Web(tmp_path / "archive")
    try:
        ds = ct()
        served.store(ds)
        study, instance = path_of(ds, "study"), path_of(ds)
        for resource, path in {
            "searches, metadata": "/studies",
            "studies, series": study,
            "an instance": instance,
            "frames": f"{instance}/frames/1",
            "rendered, thumbnail: images": f"{instance}/rendered",
        }.items():
            ((_, types),) = rows(resource)
            offered = [word.strip() for word in types.split(",")]
            for number, offer in enumerate(offer for offer in offered if "/" in offer):
                found = re.findall(r"[a-z]+/[a-z0-9+-]+", offer)
                accept = f'multipart/related; type="{found[-1]}"' if "multipart" in offer else found[-1]
                answer = served.get(path, accept=accept)
                assert answer.status == 200, (path, accept)
                assert found[-1] in answer.headers["content-type"]
                if not number:
                    assert served.get(path).headers["content-type"].partition(";")[0] == found[0]
    finally:
        served.close()
