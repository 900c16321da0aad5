"""What starting costs: no command waits for a library that it does not use. Modules are counted, not seconds."""

import json
import subprocess
import sys

import pytest

HEAVY = ("numpy", "prometheus_client", "pydicom", "pynetdicom")
START, ARCHIVE = 150, 390
"""Modules, Python's own included, of a command line that has not begun to work, and of one with an archive at hand;
with all libraries they would be some 1000."""
COUNT = "import json, sys; json.dump(sorted(sys.modules), sys.stdout)"


def modules(statement: str) -> list[str]:
    """Give what is imported by a fresh interpreter that runs a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {COUNT}"], capture_output=True, text=True, check=True, timeout=100
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("statement", "most"),
    [
        ("import minipacs.cli", START),
        ("import minipacs.config", START),
        ("import minipacs.daemon", ARCHIVE),
        ("import minipacs.cli.commands.query, minipacs.cli.commands.workflow.worklist", ARCHIVE),
        ("import minipacs.cli.commands.service", ARCHIVE),
        ("import minipacs.cli.commands.network, minipacs.cli.commands.transfer", ARCHIVE),
    ],
)
def test_commands_do_not_wait_for_libraries_they_do_not_use(statement: str, most: int) -> None:
    found = modules(statement)
    assert [name for name in HEAVY if name in found] == []
    assert len(found) <= most


def test_the_tables_of_the_standard_are_those_of_the_library() -> None:
    from pydicom.datadict import DicomDictionary
    from pydicom.uid import UID_dictionary

    from minipacs.dicom.tables.dictionary import ELEMENTS, UIDS

    assert dict(ELEMENTS) == DicomDictionary
    assert UIDS.items() <= UID_dictionary.items()  # others add to it
