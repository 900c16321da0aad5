"""Places for associations, over processes."""

import os

from hypothesis import given
from hypothesis import strategies as st

from minipacs.net import places
from minipacs.net.places import Places, PlaceTable


def test_limits_hold_over_all_rows():
    table = PlaceTable(3)
    table.know(["CT", "MR"])
    rows = [Places(table, n) for n in range(3)]
    assert [rows[n].take("CT", 10, 2) for n in (0, 1, 2)] == [None, None, "peer"]
    assert [rows[n].take("MR", 4, 0) for n in (0, 1, 2)] == [None, None, "all"]
    rows[1].give_back("CT")
    assert rows[2].take("CT", 10, 2) is None
    assert [row.taken for row in rows] == [2, 1, 1]
    assert (table.total(), table.total("CT"), table.total("MR"), table.total("US")) == (4, 2, 2, 0)


def test_the_row_of_a_dead_process_is_cleared():
    table = PlaceTable(2)
    table.know(["CT"])
    first, second = Places(table, 0), Places(table, 1)
    for row in (first, first, second):
        row.take("CT", 10, 0)
    table.clear(0)
    assert (table.total(), table.total("CT"), first.taken) == (1, 1, 0)


def test_peers_keep_their_column_when_others_come():
    table = PlaceTable(1)
    table.know(["CT"])
    row = Places(table, 0)
    row.take("CT", 10, 1)
    table.know(["MR", "CT"])
    assert row.take("CT", 10, 1) == "peer"


def test_more_peers_than_columns_count_among_all(monkeypatch):
    monkeypatch.setattr(places, "MAX_PEERS", 1)
    table = PlaceTable(1)
    table.know(["CT", "MR"])
    row = Places(table, 0)
    assert row.take("MR", 10, 1) is None
    assert row.take("MR", 10, 1) is None
    assert row.taken == 2
    row.give_back("MR")
    assert row.taken == 1


def test_a_lock_is_given_back_when_its_holder_dies():
    table = PlaceTable(2)
    pid = os.fork()
    if not pid:
        try:
            Places(table, 1)._locked().__enter__()
            Places(table, 1)._add("", 1)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert Places(table, 0).take("", 10, 0) is None
    assert table.total() == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "CT", "MR"]), st.booleans()), max_size=60))
def test_the_table_counts_as_a_list_does(steps):
    table = PlaceTable(4)
    table.know(["CT", "MR"])
    rows = [Places(table, n) for n in range(4)]
    taken: list[tuple[int, str]] = []
    for row, title, take in steps:
        if take:
            full = "all" if len(taken) >= 8 else "peer" if title and sum(t == title for _, t in taken) >= 3 else None
            assert rows[row].take(title, 8, 3 if title else 0) == full
            if full is None:
                taken.append((row, title))
        elif (row, title) in taken:
            taken.remove((row, title))
            rows[row].give_back(title)
    assert table.total() == len(taken)
    assert [r.taken for r in rows] == [sum(row == n for row, _ in taken) for n in range(4)]
