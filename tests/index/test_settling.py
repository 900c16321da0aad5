"""In which form instances stay: compressed or as they were received."""

from dataclasses import replace

import pytest

from minipacs.index import Form, Index, Outcome, Placed, StoredInstance
from minipacs.index.objects.rows import Duplicates
from minipacs.index.queries import inventory
from tests.index.conftest import CT, EXPLICIT, Files

JPEG_2000 = "1.2.840.10008.1.2.4.90"


def test_a_settled_instance_is_no_longer_to_be_compressed(index: Index, files: Files):
    one, two = files.record("1"), files.record("2")
    for record in (one, two):
        index.add(record, "replace")
    form = Form("c" * 64, 400, JPEG_2000, "YBR_RCT")
    assert index.settle(one.digest, form)
    assert index.settle(two.digest, None)
    assert not index.settle(one.digest, form), "no row stands for it any more"
    assert index.instance("1") == StoredInstance(
        CT, "1", JPEG_2000, form.digest, 400, "ONLINE", one.digest, one.received_at
    )
    assert index.instance("2") == StoredInstance(
        CT, "2", EXPLICIT, two.digest, 1000, "ONLINE", two.digest, two.received_at
    )
    assert index.statistics().stored_bytes == 1400
    assert list(index.compressible()) == []
    again = files.record("2", content="other")
    assert index.add(again, "replace") == Placed(Outcome.REPLACED, two.digest)
    assert [found.digest for found in index.compressible()] == [again.digest]


@pytest.mark.parametrize("duplicates", ["replace", "keep", "reject"])
def test_the_bytes_that_were_compressed_are_the_same_bytes(index: Index, files: Files, duplicates: Duplicates):
    record, form = files.record("1"), Form("c" * 64, 400, JPEG_2000, "YBR_RCT")
    index.add(record, duplicates)
    index.settle(record.digest, form)
    assert index.add(record, duplicates) == Placed(Outcome.SAME, record.digest)
    index.set_availability([form.digest], "UNAVAILABLE")
    assert index.add(record, duplicates) == Placed(Outcome.REPLACED, form.digest)
    assert index.instance("1") == StoredInstance(
        CT, "1", EXPLICIT, record.digest, 1000, "ONLINE", "", record.received_at
    )
    assert index.statistics().stored_bytes == 1000


def test_what_is_to_be_compressed_is_found_by_its_index_page_by_page(
    index: Index, files: Files, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inventory, "COMPRESSIBLE_PAGE_ROWS", 2)
    records = [files.record(str(i)) for i in range(5)]
    for record in records:
        index.add(record, "replace")
    index.set_availability([records[3].digest], "UNAVAILABLE")
    index.add(replace(files.record("6"), transfer_syntax_uid=JPEG_2000), "replace")
    statements: list[str] = []
    with index._database.reader() as connection:
        connection.set_trace_callback(statements.append)
    assert [found.sop_instance_uid for found in index.compressible()] == ["0", "1", "2", "4"]
    with index._database.reader() as connection:
        connection.set_trace_callback(None)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}")]
    assert "instance_compressible" in plan[0]
    assert len(plan) == 1
