"""`minipacs retention`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minipacs.cli import main
from tests.support.objects import ct, save

RULES = """
[[retention]]
name = "ten years"
keep_years = 10
max_a_day = 1
[[retention]]
name = "mammography"
match = ["ModalitiesInStudy=MG"]
keep_years = 200
"""


def write(folder: Path, rules: str) -> Path:
    path = folder / "minipacs.toml"
    path.write_text(
        '[storage]\npath = "./var"\nmin_free_bytes = 0\n[audit]\nfile = "./audit.log"\n[metrics]\nbind = ""\n' + rules
    )
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = write(tmp_path, RULES)
    for uid, study_date, modality in (
        ("1.2.3", "20010101", "CT"),
        ("1.2.4", "20010102", "CT"),
        ("1.2.5", "20010101", "MG"),
    ):
        ds = ct(StudyInstanceUID=uid, StudyDate=study_date, Modality=modality)
        call(path, "import", str(save(ds, tmp_path / f"{ds.SOPInstanceUID}.dcm")))
    return path


def call(config: Path, *words: str) -> Result:
    at = 2 if words[0] in ("retention", "audit") else 1
    return CliRunner().invoke(main, [*words[:at], "--config", str(config), *words[at:]])


def plan(config: Path) -> list[tuple[str, str, bool]]:
    rows = json.loads(call(config, "retention", "plan", "--json").output)
    return [(row["StudyInstanceUID"], row["rule"], row["goes_on"] > "2001") for row in rows]


def instances(config: Path) -> int:
    return int(json.loads(call(config, "stats", "--json").output)["instances"])


def test_what_is_planned_goes_and_comes_back(config: Path) -> None:
    assert plan(config) == [("1.2.3", "ten years", True), ("1.2.4", "ten years", True)]
    assert call(config, "retention", "apply").exit_code == 1  # nobody said yes
    assert instances(config) == 3
    result = call(config, "retention", "apply", "--yes")
    assert "1 studies, 1 instances let go" in result.output
    assert "nothing is due today" in call(config, "retention", "apply", "--yes").output
    assert instances(config) == 2
    (gone,) = json.loads(call(config, "retention", "list", "--json").output)
    assert (gone["StudyInstanceUID"], gone["state"]) == ("1.2.3", "restorable")
    assert "1.2.3: 1 instances restored, and held" in call(config, "retention", "restore", "1.2.3").output
    assert instances(config) == 3
    assert plan(config)[0] == ("1.2.3", "ten years", False)
    assert call(config, "retention", "restore", "1.2.3").exit_code == 1
    told = call(config, "audit", "show", "--json").output
    assert told.count("DICOM Study Deleted") == 1


def test_an_unknown_rule_and_none_at_all_are_told(config: Path, tmp_path: Path) -> None:
    assert "no [[retention]] has the name x" in call(config, "retention", "apply", "--rule", "x").output
    assert "there is no [[retention]]" in call(write(tmp_path, ""), "retention", "plan").output


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ('name = "a"', "either keep_years or keep_days"),
        ('name = "a"\nkeep_years = 1\nkeep_days = 1', "either keep_years or keep_days"),
        ('name = "a"\nkeep_years = 1\nmatch = ["SOPInstanceUID=1.2"]', "no key at study level"),
        ('name = "a"\nkeep_years = 1\nmatch = ["Nonsense=1"]', "no key at study level"),
        ('name = "a"\nkeep_years = 1\nneeds_copy = ["COPY"]', "must be what a [[route]] sends to"),
        ('name = "a"\nkeep_years = 1\n[[retention]]\nname = "a"\nkeep_years = 2', "must be unique"),
        ('name = "a"\nkeep_years = 1\nmax_a_day = 0', "max_a_day"),
    ],
)
def test_rules_that_make_no_sense_are_refused(tmp_path: Path, rule: str, told: str) -> None:
    result = call(write(tmp_path, f"[[retention]]\n{rule}\n"), "check")
    assert result.exit_code == 2
    assert told in result.output
