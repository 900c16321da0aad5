"""`minipacs worklist`: scheduled procedure steps, added, listed, removed."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from minipacs import daemon
from minipacs.cli.common import config_option, json_option, parse_keys, prepare, print_json, print_table, printable
from minipacs.config import Config
from minipacs.dicom.data_set.json_values import by_keyword, parse
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.workflow.scheduling import steps_of
from minipacs.dicom.workflow.worklist import BY_KEYWORD, WorklistKey
from minipacs.errors import MinipacsError
from minipacs.index.workflow.worklist import Step, Worklist
from minipacs.jobs.worklist_folder import BadWorklistFile, read_worklist_file

_SHOWN = (
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "ScheduledStationAETitle",
    "Modality",
    "PatientID",
    "PatientName",
    "AccessionNumber",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepStatus",
)

Load = Callable[..., Config]


@click.group()
def worklist() -> None:
    """Manage the worklist: what modalities are told to do."""


@contextmanager
def _open(load: Load, *, read_only: bool = False) -> Iterator[Worklist]:
    config = load()
    prepare(config)
    archive = daemon.open_archive(config, read_only=read_only)
    try:
        yield archive.index.worklist
    finally:
        archive.close()


@worklist.command()
@config_option
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_option
def add(load: Load, values: Sequence[str], as_json: bool) -> None:
    """Schedule a procedure step.

    PatientName, PatientID, Modality and ScheduledStationAETitle are needed; it starts now unless it says when. Other
    attributes of the worklist may be given. The same Study Instance UID and step ID again replace the step.
    """
    now = {
        "ScheduledProcedureStepStartDate": time.strftime("%Y%m%d"),
        "ScheduledProcedureStepStartTime": time.strftime("%H%M%S"),
    }
    try:
        steps = steps_of(parse({**now, **parse_keys(values)}))
    except (ValueError, MinipacsError) as error:
        raise click.UsageError(f"the step {error}" if isinstance(error, MinipacsError) else str(error)) from error
    with _open(load) as opened:
        added = opened.put(steps)
        found = [step for step in map(opened.step, added) if step is not None]
    _print(found, as_json)


@worklist.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Also steps that are begun or over.")
@click.argument("keys", nargs=-1, metavar="KEY=VALUE...")
@json_option
def list_(load: Load, everything: bool, keys: Sequence[str], as_json: bool) -> None:
    """List the steps that match, by the rules of C-FIND: Modality=CT ScheduledProcedureStepStartDate=20240101-."""
    asked = [(_key(name), value) for name, value in parse_keys(keys).items()]
    with _open(load, read_only=True) as opened:
        _print(list(opened.find(asked, hidden_too=everything)), as_json)


@worklist.command()
@config_option
@click.argument("step_id", type=int, metavar="ID")
def show(load: Load, step_id: int) -> None:
    """Show all that is known of a step, as JSON; ID is that of `minipacs worklist list`."""
    with _open(load, read_only=True) as opened:
        found = opened.step(step_id)
    if found is None:
        raise MinipacsError(f"no step has the ID {step_id}")
    print_json(_document(found))


@worklist.command()
@config_option
@click.argument("step_ids", nargs=-1, required=True, type=int, metavar="ID...")
def remove(load: Load, step_ids: Sequence[int]) -> None:
    """Remove steps; one that comes from the watched folder returns when its file changes."""
    with _open(load) as opened:
        missing = [step_id for step_id in step_ids if opened.step(step_id) is None]
        if missing:
            raise MinipacsError(f"no step has the ID {', '.join(map(str, missing))}")
        opened.remove(step_ids)
    click.echo(f"{len(step_ids)} removed")


@worklist.command("import")
@config_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@json_option
def import_(load: Load, paths: Sequence[Path], as_json: bool) -> None:
    """Schedule what files say: dcmtk's .wl files, JSON by keyword or in the DICOM JSON Model, and folders of both."""
    refused: dict[str, str] = {}
    steps: list[Values] = []
    for path in _files(paths):
        try:
            steps += read_worklist_file(path)
        except BadWorklistFile as error:
            refused[str(path)] = str(error)
    with _open(load) as opened:
        opened.put(steps)
    if as_json:
        print_json({"steps": len(steps), "refused": refused})
    else:
        for name, reason in refused.items():
            click.echo(f"refused: {printable(Path(name).name)}: {printable(reason)}", err=True)
        click.echo(f"{len(steps)} steps scheduled, {len(refused)} files refused")
    if refused:
        sys.exit(1)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (found for found in sorted(path.rglob("*")) if found.suffix in (".wl", ".json"))
        else:
            yield path


def _key(name: str) -> WorklistKey:
    known = BY_KEYWORD.get(name)
    if known is None or not known.matched:
        raise click.UsageError(f"{name} is no matching key of the worklist; see docs/conformance.md for the keys")
    return known


def _document(step: Step) -> dict[str, Any]:
    return {"id": step.id, "source": step.source, **by_keyword(step.values)}


def _print(steps: Sequence[Step], as_json: bool) -> None:
    if as_json:
        print_json([_document(step) for step in steps])
        return
    rows = [{"id": step.id, **{name: step.value(BY_KEYWORD[name]) for name in _SHOWN}} for step in steps]
    print_table(rows, ["id", *_SHOWN])
