"""The benchmark runs, and measures what it says; how fast is no matter here."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest

from tools.bench import data
from tools.bench.over_http import WEB_WORKS
from tools.bench.report import Results
from tools.bench.systems import Dcmqrscp, Minipacs
from tools.bench.works import WORKS, Work

ROOT = Path(__file__).parent.parent


def run(*arguments: object, module: str = "tools.bench") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


def test_measures_and_leaves_nothing_behind(tmp_path):
    out, folder = tmp_path / "out.json", tmp_path / "folder"
    folder.mkdir()
    done = run("--work", "start,store_stock,associate", "--reps", 1, "--json", out, "--folder", folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["notes"] == {}
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert list(found["figures"]) == ["start", "store_stock", "associate"]
    for name, figure in found["figures"].items():
        assert figure["systems"]["minipacs"]["median"] > 0
        assert f"| {name}" in done.stdout
    assert list(folder.iterdir()) == []


def test_the_worklist_is_measured():
    done = run("--steps", 30, module="tools.bench.worklists")
    assert done.returncode == 0, done.stderr
    answers = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in done.stdout.splitlines()[4:] if row}
    assert answers["everything"] == "30"
    assert answers["station"] == "3"
    assert answers["station without steps"] == "0"


def test_retrieval_is_measured(tmp_path):
    done = run("--huge", 4, "--folder", tmp_path, module="tools.bench.retrieves")
    assert done.returncode == 0, done.stderr
    rows = {row.split("|")[1].strip() for row in done.stdout.splitlines() if row.startswith("|")}
    assert {"1", "2", "4", "RLE Lossless", "JPEG Baseline (Process 1)"} <= rows
    assert "an object of 4 MiB" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_tls_is_measured_beside_plain(tmp_path):
    done = run("--reps", 1, "--load", "stock", "--folder", tmp_path, module="tools.bench.encrypted")
    assert done.returncode == 0, done.stderr
    rows = [row.split("|")[1:3] for row in done.stdout.splitlines() if row.startswith("| stock")]
    assert [row[1].strip() for row in rows] == ["minipacs, plain", "minipacs, TLS", "storescp, plain", "storescp, TLS"]
    assert list(tmp_path.iterdir()) == []


def test_what_guarding_costs_is_measured(tmp_path):
    works = "audit", "identity", "guesses"
    done = run("--work", *works, "--count", 3, "--folder", tmp_path, module="tools.bench.guards")
    assert done.returncode == 0, done.stderr
    rows = [row.split("|")[1].strip() for row in done.stdout.splitlines() if row.startswith("| ")]
    assert rows == ["operation", "associate", "echo", "store", "store again", "find", "get",
                    "operation", "associate", "guesses at once", "1", "100"]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_multi_frame_data_is_valid(tmp_path):
    for bits in (8, 16):
        with (tmp_path / "x.dcm").open("wb") as file:
            data.write_multi_frame(file, 64, 3, bits)
        ds = pydicom.dcmread(tmp_path / "x.dcm")
        assert ds.pixel_array.shape == (3, 64, 64)
        assert ds.StudyInstanceUID == data.MULTI_FRAME_STUDY_UID


def test_unknown_work_is_a_usage_error():
    done = run("--work", "store_large,nonsense")
    assert done.returncode == 2
    assert "unknown: nonsense" in done.stderr


def test_data_is_the_same_each_time_and_valid(tmp_path):
    load = data.LOADS["stock"]
    data.write(load, tmp_path / "a")
    data.write(load, tmp_path / "b")
    files = sorted((tmp_path / "a").rglob("*.dcm"))
    assert len(files) == load.objects
    assert [f.read_bytes() for f in files] == [f.read_bytes() for f in sorted((tmp_path / "b").rglob("*.dcm"))]
    ds = pydicom.dcmread(files[0])
    assert ds.pixel_array.shape == (load.rows, load.rows)
    assert ds.StudyInstanceUID == load.study_uid(0)
    assert len({pydicom.dcmread(f, specific_tags=["SOPInstanceUID"]).SOPInstanceUID for f in files}) == load.objects


def test_table_shows_medians_and_ratios():
    work = next(work for work in WORKS if work.name == "store_large")
    results = Results([work], [Minipacs, Dcmqrscp])
    for value in (1.0, 9.0, 2.0):
        results.add(work, Minipacs.__new__(Minipacs), (value,))
    results.add(work, Dcmqrscp.__new__(Dcmqrscp), (5.0,))
    cells = [cell.strip() for cell in results.table().splitlines()[-1].split("|")]
    assert cells == ["", "store_large", "s", "2.00", "5.00", "2.5", ""]


def test_recovery_is_measured():
    done = run("--files", 100, module="tools.bench.recoveries")
    assert done.returncode == 0, done.stderr
    assert "100 files of 9250 bytes" in done.stdout
    for work in (
        "recovery without an index",
        "recovery, all rows there",
        "sizes",
        "`minipacs verify`",
        "`minipacs reindex`",
    ):
        assert f"| {work}" in done.stdout


def test_dicomweb_is_measured(tmp_path):
    out, folder = tmp_path / "out.json", tmp_path / "folder"
    folder.mkdir()
    works = "stow,study,frames_six,metadata"
    arguments = ("--work", works, "--reps", 1, "--json", out, "--folder", folder)
    done = run(*arguments, module="tools.bench.over_http")
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["notes"] == {}
    assert list(found["figures"]) == [name for work in works.split(",") for name in (work, f"{work}_cpu")]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("heading", "following", "works"),
    [("## What is measured", "## Retrieval and codecs", WORKS), ("## DICOMweb", "## A table", WEB_WORKS)],
)
def test_every_figure_is_defined_in_the_manual_as_it_is_in_the_bench(
    heading: str, following: str, works: Sequence[Work]
):
    manual = (Path(__file__).parent.parent / "docs/benchmarks.md").read_text()
    part = manual[manual.index(heading) : manual.index(following)]
    defined = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in part.splitlines() if line[:1] == "|"
    ]
    figures = [(figure.name, figure.unit, figure.what) for work in works for figure in work.figures]
    assert defined[2 : 2 + len(figures)] == figures
