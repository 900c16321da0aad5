"""What the conformance statement says, held against what is negotiated."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pydicom.uid import AllTransferSyntaxes, UID_dictionary

from tests.support import wire
from tests.support.server import Server, run
from tests.support.wire import CT, EXPLICIT, IMPLICIT, Wire, context

PRIVATE_CLASS = "1.2.840.113619.4.26"
MAX_CONTEXTS = 128
AE = "max_pdu_bytes = 32768\nmax_associations = 3"
SERVICES = r"\| SOP class \| UID .*"
Rows = list[list[str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("archive"), ae=AE, storage=f'sop_classes = ["{PRIVATE_CLASS}"]')
    yield found
    found.stop()


@pytest.fixture(scope="module")
def table(server: Server) -> Callable[[str], Rows]:
    """Give the cells of the statement's tables whose first line matches, without the ` around them."""
    blocks = [block.splitlines() for block in run("conformance", config=server.config).stdout.split("\n\n")]

    def find(header: str) -> Rows:
        found = [line for block in blocks if re.fullmatch(header, block[0]) for line in block[2:]]
        assert found, header
        return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in found]

    return find


def negotiated(port: int, proposed: list[tuple[str, str]]) -> list[tuple[int, str]]:
    """Return result and transfer syntax for each pair of abstract and transfer syntax."""
    found: list[tuple[int, str]] = []
    for begin in range(0, len(proposed), MAX_CONTEXTS):
        part = proposed[begin : begin + MAX_CONTEXTS]
        with Wire(port) as caller:
            body = caller.accepted(*(context(2 * n + 1, *pair) for n, pair in enumerate(part)))
            results = wire.context_results(body)
            found += [results[2 * n + 1] for n in range(len(part))]
            caller.release()
    return found


def test_every_class_is_accepted_and_no_other(server: Server, table: Callable[[str], Rows]):
    services = [row[1] for row in table(SERVICES) if row[3] == "yes" and row[1]]
    storage = [row[1] for row in table(r"\| SOP class \(\d+\) .*")]
    assert PRIVATE_CLASS in storage
    stated = {*services, *storage}
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] in ("SOP Class", "Meta SOP Class")}
    proposed = sorted(known | stated)
    results = negotiated(server.port, [(uid, IMPLICIT) for uid in proposed])
    accepted = {uid for uid, (result, _) in zip(proposed, results, strict=True) if result == 0}
    assert accepted == stated
    assert {result for result, _ in results} == {0, 3}


def test_every_transfer_syntax_is_accepted_for_storage_and_no_other(server: Server, table: Callable[[str], Rows]):
    stated = {row[1] for row in table(r"\| transfer syntax .*")}
    known = sorted(stated | set(AllTransferSyntaxes))
    results = negotiated(server.port, [(CT, uid) for uid in known])
    assert {uid for uid, result in zip(known, results, strict=True) if result == (0, uid)} == stated
    assert {result for result, _ in results} == {0, 4}


def test_other_services_have_two_transfer_syntaxes(server: Server, table: Callable[[str], Rows]):
    services = [row[1] for row in table(SERVICES) if row[1]]
    known = sorted(AllTransferSyntaxes)
    results = negotiated(server.port, [(service, uid) for service in services for uid in known])
    assert {uid for result, uid in results if result == 0} == {IMPLICIT, EXPLICIT}
    assert sum(result == 0 for result, _ in results) == 2 * len(services)


def test_names_and_limits_are_those_of_associations(server: Server, table: Callable[[str], Rows]):
    settings = dict(table(r"\| setting \| value \|"))
    with ExitStack() as stack:
        most = int(settings["ae.max_associations"])
        bodies = [stack.enter_context(Wire(server.port)).accepted() for _ in range(most)]
        with Wire(server.port) as caller:
            kind, body = caller.associate()
            assert (kind, body[1:4]) == (3, bytes((2, 3, 2)))
    [max_pdu] = wire.sub_items(bodies[0], 0x51)
    assert int.from_bytes(max_pdu, "big") == int(settings["ae.max_pdu_bytes"])
    names = dict(table(r"\| item \| value \|"))
    assert wire.sub_items(bodies[0], 0x52) == [names["Implementation Class UID"].encode()]
    assert wire.sub_items(bodies[0], 0x55) == [names["Implementation Version Name"].encode()]
