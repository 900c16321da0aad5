"""How listings are printed: whole UIDs, the width of the screen, letters of any script, nothing that acts."""

import csv
import io
import json

import click
import pytest
from click.testing import CliRunner

from minipacs.cli.tables import Output, listing, shown_time, table_lines, width_of

UID = "1.2.826.0.1.3680043.8.498." + "1" * 38
ROWS = [
    {"PatientID": "P1", "PatientName": "Doe^Jane", "Description": "CT of the thorax with contrast", "n": 7, "UID": UID},
    {"PatientID": "P23", "PatientName": "山田^太郎", "Description": "頭部 単純 " * 9, "n": 1234, "UID": UID[:-1]},
]
COLUMNS = ("PatientID", "PatientName", "Description", "n", "UID")


def test_the_columns_stand_below_each_other_whatever_the_script():
    lines = list(table_lines(ROWS, ("PatientID", "PatientName", "n"), 80))
    assert lines == [
        "PatientID  PatientName     n",
        "P1         Doe^Jane        7",
        "P23        山田^太郎    1234",
    ]
    assert len({width_of(line) for line in lines}) == 1


@pytest.mark.parametrize("screen", [72, 80, 132, 200])
def test_a_table_fits_the_screen_and_uids_are_whole(screen):
    assert len(UID) == 64
    lines = list(table_lines(ROWS, COLUMNS, screen))
    assert max(map(width_of, lines)) <= screen
    text = "\n".join(lines)
    for row in ROWS:
        assert row["UID"] in text
        assert row["PatientName"] in text


def test_in_a_pipe_a_row_is_a_line():
    assert len(list(table_lines(ROWS, COLUMNS, None))) == 3


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b2J", "\u202e", "\u2066", "a\nb", "\r", "\x7f", "\ud800", "\u2028"])
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_nothing_printed_acts_on_a_terminal(form, hostile):
    @click.command()
    @listing
    def show(output: Output) -> None:
        output.print([{"name": f"x{hostile}y"}], ("name",))

    text = CliRunner().invoke(show, [] if form == "table" else [f"--{form}"]).stdout
    assert all(char.isprintable() for char in text.replace("\n", ""))
    if form == "json":
        assert json.loads(text) == [{"name": f"x{hostile}y"}], "and a program reads what there is"


def test_csv_is_read_back():
    @click.command()
    @listing
    def show(output: Output) -> None:
        output.print([{"a": 'say "x", y', "b": ["CT", "MR"], "c": None}], ("a", "b", "c"))

    rows = list(csv.reader(io.StringIO(CliRunner().invoke(show, ["--csv"]).stdout)))
    assert rows == [["a", "b", "c"], ['say "x", y', "CT\\MR", ""]]


def test_columns_are_chosen_for_every_form():
    @click.command()
    @listing
    def show(output: Output) -> None:
        output.print([{"a": 1, "b": 2, "c": 3}], ("a", "b"), ("c",))

    run = CliRunner()
    assert run.invoke(show, ["--columns", "c,a"]).stdout == "c  a\n3  1\n"
    assert run.invoke(show, ["--csv", "--columns", "c"]).stdout == "c\n3\n"
    assert json.loads(run.invoke(show, ["--json", "--columns", "c"]).stdout) == [{"c": 3}]
    refused = run.invoke(show, ["--columns", "d"])
    assert refused.exit_code == 2
    assert "d is no column here; there are: a, b, c" in refused.stderr
    assert run.invoke(show, ["--csv", "--json"]).exit_code == 2


def test_a_time_has_one_form_with_its_zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-2")
    __import__("time").tzset()
    assert shown_time(1.5e9) == "2017-07-14T04:40:00+02:00"
    monkeypatch.undo()
    __import__("time").tzset()
