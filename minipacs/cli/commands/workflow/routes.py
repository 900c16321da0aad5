"""`minipacs routes` and `minipacs queue`: what rules send, and what waits to be sent."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import click

from minipacs.archive.archive import Archive
from minipacs.archive.ports import Catalogue
from minipacs.cli.commands.query import asked_keys
from minipacs.cli.common import Load, config_option, opened, parse_keys
from minipacs.cli.tables import Output, listing, print_json, shown_time
from minipacs.config import Config
from minipacs.daemon import composition
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.errors import MinipacsError
from minipacs.index import Query, StoredInstance
from minipacs.index.engine.connection import Connection
from minipacs.index.ledger.queue import WAITING, Item, Queue
from minipacs.index.ledger.routed import ROUTES, Shipment, shipment_of
from minipacs.index.ledger.webhooks import span_of
from minipacs.jobs.routing.rules import Route, choices
from minipacs.jobs.webhooks import ROUTE as WEBHOOK

_ROUTE_COLUMNS = ("name", "on", "to", "match", "from", "level", "hours", "dry_run")
_MORE_ROUTE_COLUMNS = ("rate", "priors", "announce")
_PLAIN = ("name", "on", "level", "hours", "dry_run", *_MORE_ROUTE_COLUMNS)
"""Settings that are shown as they are."""
_CHOICE_COLUMNS = ("peer", "goes", "instance", "why_not")
_MORE_CHOICE_COLUMNS = ("study",)
_ITEM_COLUMNS = ("id", "state", "route", "peer", "study", "since", "attempts", "due", "fault")
_MORE_ITEM_COLUMNS = ("series", "instance", "priority", "prior", "only")


@click.group()
def routes() -> None:
    """Show the rules that send objects on, and what they do with what is stored."""


@routes.command("list")
@config_option
@listing
def list_routes(load: Load, output: Output) -> None:
    """List the routes of the configuration."""
    rows = [
        {
            **{name: getattr(route, name) for name in _PLAIN},
            "to": list(route.to),
            "match": list(route.match),
            "from": list(route.from_),
        }
        for route in load().routes
    ]
    output.print(rows, _ROUTE_COLUMNS, _MORE_ROUTE_COLUMNS)


@routes.command("test")
@config_option
@click.argument("name", metavar="NAME")
@click.argument("keys", nargs=-1, metavar="KEY=VALUE...")
@listing
def test_route(load: Load, name: str, keys: Sequence[str], output: Output) -> None:
    """Tell what of the stored objects a route takes to whom, and why it leaves others; all of them, or what matches.

    What the peer has already is told too: it would not go again. Nothing is sent.
    """
    config = load()
    with opened(lambda: config, read_only=True) as archive:
        route = next((r for r in composition.routes(config, archive.index.keys) if r.name == name), None)
        if route is None:
            raise MinipacsError(f"no [[route]] has the name {name}")
        rows = [row for study, found in _studies(archive, keys) for row in _choices(archive, route, study, found)]
    output.print(rows, _CHOICE_COLUMNS, _MORE_CHOICE_COLUMNS)


def _studies(archive: Archive, keys: Sequence[str]) -> list[tuple[str, list[StoredInstance]]]:
    asked = asked_keys(parse_keys(keys), archive.index.keys, "IMAGE")
    returns = [BY_KEYWORD["StudyInstanceUID"], BY_KEYWORD["SOPInstanceUID"]]
    found: dict[str, list[str]] = {}
    for study, uid in archive.index.find(Query("IMAGE", asked, returns, empty_value=True)):
        found.setdefault(study, []).append(uid)
    return [(study, archive.index.instances({"SOPInstanceUID": uids})) for study, uids in found.items()]


def _choices(
    archive: Archive, route: Route, study: str, instances: Sequence[StoredInstance]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for destination in route.to:
        done = archive.index.routed.delivered(route.mark(destination), [i.sop_instance_uid for i in instances])
        for choice in choices(archive.index, route, destination, instances):
            now = choice.instance
            has = done.get(now.sop_instance_uid) == (now.received_digest or now.digest)
            refusal = choice.refusal or (f"{destination} {'knows of' if route.announce else 'has'} it" if has else "")
            row = {"peer": destination, "study": study, "instance": now.sop_instance_uid}
            rows.append({**row, "goes": not refusal, "why_not": refusal})
    return rows


@click.group()
def queue() -> None:
    """Show what routes have to send and webhooks to tell, what waits, and what was given up."""


@queue.command("list")
@config_option
@listing
def list_items(load: Load, output: Output) -> None:
    """List what waits (waiting), goes (sending), is kept back (held) or was given up (dead), the oldest first."""
    with opened(load, read_only=True) as archive:
        rows = [_row(queue, item) for queue, item in _items(archive.index)]
    output.print(rows, _ITEM_COLUMNS, _MORE_ITEM_COLUMNS)


@queue.command()
@config_option
@click.argument("item_id", type=int, metavar="ID")
def show(load: Load, item_id: int) -> None:
    """Show all of an item, as JSON."""
    with opened(load, read_only=True) as archive:
        found, item = _item(archive, item_id)
        is_route = found is archive.index.routed.queue
        print_json({**_row(found, item), **asdict(shipment_of(item) if is_route else span_of(item))})


@queue.command()
@config_option
@click.argument("item_ids", nargs=-1, required=True, type=int, metavar="ID...")
def retry(load: Load, item_ids: Sequence[int]) -> None:
    """Send items now that wait, are held or were given up; a daemon that runs does so within a minute."""
    _change(load, item_ids, "to be sent", "it is being sent", lambda queue, c, item: queue.retry(c, item.key))


@queue.command()
@config_option
@click.argument("item_ids", nargs=-1, required=True, type=int, metavar="ID...")
def hold(load: Load, item_ids: Sequence[int]) -> None:
    """Keep items back that wait, until they are to be sent by `retry`."""
    _change(load, item_ids, "held", "it does not wait", lambda queue, c, item: queue.hold(c, item.key))


@queue.command()
@config_option
@click.argument("item_ids", nargs=-1, required=True, type=int, metavar="ID...")
def drop(load: Load, item_ids: Sequence[int]) -> None:
    """Forget items, whatever their state; nothing that is stored goes."""
    _change(load, item_ids, "dropped", "it is gone", lambda queue, c, item: bool(queue.drop(c, [item.key])))


def _change(
    load: Load,
    item_ids: Sequence[int],
    done: str,
    refusal: str,
    change: Callable[[Queue, Connection, Item], bool],
) -> None:
    config: Config = load()
    with opened(lambda: config) as archive:
        items = [_item(archive, item_id) for item_id in item_ids]
        refused = [item.id for found, item in items if not found.change(_of(change, found, item))]
    click.echo(f"{len(items) - len(refused)} {done}")
    if refused:
        raise MinipacsError(f"not {done}: {', '.join(map(str, refused))}: {refusal}")


def _of(change: Callable[[Queue, Connection, Item], bool], queue: Queue, item: Item) -> Callable[[Connection], bool]:
    return lambda connection: change(queue, connection, item)


def _items(index: Catalogue) -> list[tuple[Queue, Item]]:
    queues = index.routed.queue, index.webhooks.queue
    return sorted(((queue, item) for queue in queues for item in queue.items()), key=lambda pair: pair[1].id)


def _item(archive: Archive, item_id: int) -> tuple[Queue, Item]:
    found = next((pair for pair in _items(archive.index) if pair[1].id == item_id), None)
    if found is None:
        raise MinipacsError(f"no item has the ID {item_id}, or no more")
    return found


def _row(queue: Queue, item: Item) -> dict[str, object]:
    shipment = shipment_of(item) if queue.name == ROUTES else Shipment(WEBHOOK, "")
    return {
        "id": item.id,
        "state": item.state,
        "route": shipment.route,
        "peer": item.destination,
        "study": shipment.study_uid or None,
        "series": shipment.series_uid or None,
        "instance": shipment.sop_instance_uid or None,
        "since": shown_time(item.created_at),
        "attempts": item.attempts,
        "due": shown_time(item.due_at) if item.state == WAITING else None,
        "fault": item.last_fault or None,
        "priority": item.priority,
        "prior": shipment.is_prior,
        "only": list(shipment.only),
    }
