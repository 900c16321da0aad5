"""`minipacs worklist`: scheduled procedure steps, added, listed, removed."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from minipacs.audit.message import Action
from minipacs.cli.auditing import tell_looked, tell_scheduled
from minipacs.cli.common import Load, config_option, json_option, opened, parse_keys
from minipacs.cli.tables import Output, listing, print_json
from minipacs.dicom.data_set.json_values import by_keyword, parse
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.workflow.scheduling import Unschedulable, steps_of
from minipacs.dicom.workflow.worklist import BY_KEYWORD, STEP_KEYS, STEP_SEQUENCE, WorklistKey
from minipacs.errors import MinipacsError
from minipacs.index.workflow.worklist import Step, Worklist
from minipacs.jobs.worklist_folder import BadWorklistFile, read_worklist_file
from minipacs.log import printable

T = TypeVar("T")

_IDENTITY = ("StudyInstanceUID", "ScheduledProcedureStepID")
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


@click.group()
def worklist() -> None:
    """Manage the worklist: what modalities are told to do."""


@worklist.command()
@config_option
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@listing
def add(load: Load, values: Sequence[str], output: Output) -> None:
    """Schedule a procedure step.

    PatientName, PatientID, Modality and ScheduledStationAETitle are needed; it starts now unless it says when. Other
    attributes of the worklist may be given. The same Study Instance UID and step ID again replace the step.
    """
    now = {
        "ScheduledProcedureStepStartDate": time.strftime("%Y%m%d"),
        "ScheduledProcedureStepStartTime": time.strftime("%H%M%S"),
    }
    steps = _complete(lambda: parse({**now, **parse_keys(values)}))
    with opened(load) as archive:
        _put(archive.index.worklist, steps, output)
    tell_scheduled(load(), steps, Action.CREATE)


@worklist.command()
@config_option
@click.argument("step_id", type=int, metavar="ID")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@listing
def edit(load: Load, step_id: int, values: Sequence[str], output: Output) -> None:
    """Change attributes of a step; an empty value takes one away.

    StudyInstanceUID and ScheduledProcedureStepID say which step it is, and stay. What a modality has begun stays begun.
    """
    given = _parsed(lambda: parse(parse_keys(values)))
    fixed = [name for name in _IDENTITY if BY_KEYWORD[name].tag in given]
    if fixed:
        raise click.UsageError(f"{fixed[0]} says which step it is: add another one, and remove this")
    with opened(load) as archive:
        found = _known(archive.index.worklist, step_id)
        if found.source:
            raise MinipacsError(f"step {step_id} comes from the file {found.source}: change it there")
        step = {**found.step, **{tag: value for tag, value in given.items() if tag in STEP_KEYS}}
        request = {**found.values, **{tag: value for tag, value in given.items() if tag not in STEP_KEYS}}
        steps = _complete(lambda: {**request, STEP_SEQUENCE: (step,)})
        _put(archive.index.worklist, steps, output)
    tell_scheduled(load(), steps, Action.UPDATE)


@worklist.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Also steps that are begun or over.")
@click.argument("keys", nargs=-1, metavar="KEY=VALUE...")
@listing
def list_(load: Load, *, everything: bool, keys: Sequence[str], output: Output) -> None:
    """List the steps that match, by the rules of C-FIND: Modality=CT ScheduledProcedureStepStartDate=20240101-."""
    asked = [(_key(name), value) for name, value in parse_keys(keys).items()]
    with opened(load, read_only=True) as archive:
        tell_looked(load(), *(["--all"] if everything else []), *keys)
        _print(list(archive.index.worklist.find(asked, hidden_too=everything)), output)


@worklist.command()
@config_option
@click.argument("step_id", type=int, metavar="ID")
def show(load: Load, step_id: int) -> None:
    """Show all that is known of a step, as JSON; ID is that of `minipacs worklist list`."""
    with opened(load, read_only=True) as archive:
        tell_looked(load(), step_id)
        print_json(_document(_known(archive.index.worklist, step_id)))


@worklist.command()
@config_option
@click.argument("step_ids", nargs=-1, required=True, type=int, metavar="ID...")
def remove(load: Load, step_ids: Sequence[int]) -> None:
    """Remove steps; one that comes from the watched folder returns when its file changes."""
    with opened(load) as archive:
        missing = [step_id for step_id in step_ids if archive.index.worklist.step(step_id) is None]
        if missing:
            raise MinipacsError(f"no step has the ID {', '.join(map(str, missing))}")
        gone = [step.values for step in map(archive.index.worklist.step, step_ids) if step is not None]
        archive.index.worklist.remove(step_ids)
    tell_scheduled(load(), gone, Action.DELETE)
    click.echo(f"{len(step_ids)} removed")


@worklist.command("import")
@config_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@json_option
def import_(load: Load, paths: Sequence[Path], *, as_json: bool) -> None:
    """Schedule what files say: dcmtk's .wl files, JSON by keyword or in the DICOM JSON Model, and folders of both."""
    refused: dict[str, str] = {}
    steps: list[Values] = []
    for path in _files(paths):
        try:
            steps += read_worklist_file(path)
        except BadWorklistFile as error:
            refused[str(path)] = str(error)
    with opened(load) as archive:
        archive.index.worklist.put(steps)
    tell_scheduled(load(), steps, Action.CREATE)
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
        raise click.UsageError(f"{name} is no matching key of the worklist; `minipacs conformance` lists the keys")
    return known


def _document(step: Step) -> dict[str, Any]:
    return {"id": step.id, "source": step.source, **by_keyword(step.values)}


def _parsed(read: Callable[[], T]) -> T:
    """Read what was given; what cannot be understood is a usage error."""
    try:
        return read()
    except Unschedulable as error:
        raise click.UsageError(f"the step {error}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _complete(read: Callable[[], Values]) -> list[Values]:
    return _parsed(lambda: steps_of(read()))


def _known(worklist: Worklist, step_id: int) -> Step:
    found = worklist.step(step_id)
    if found is None:
        raise MinipacsError(f"no step has the ID {step_id}")
    return found


def _put(worklist: Worklist, steps: Sequence[Values], output: Output) -> None:
    """Schedule steps and print them."""
    ids = worklist.put(steps)
    _print([step for step in map(worklist.step, ids) if step is not None], output)


def _print(steps: Sequence[Step], output: Output) -> None:
    rows = [{"id": step.id, "source": step.source, **_values(step)} for step in steps]
    known = ("source", *(name for name in BY_KEYWORD if name not in _SHOWN))
    output.print(rows, ("id", *_SHOWN), known, document=[_document(step) for step in steps])


def _values(step: Step) -> dict[str, object]:
    return {name: step.value(key) for name, key in BY_KEYWORD.items() if key.vr != "SQ"}
