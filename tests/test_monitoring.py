"""Rules and the dashboard ask for metrics that there are, and every alert is explained."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from minipacs.archive.archive import Figures
from minipacs.metrics import (
    Metrics,
    Processes,
    Waiting,
    register_expiries,
    register_figures,
    register_routes,
    register_spool,
)

ROOT = Path(__file__).parent.parent
RULES = ROOT / "etc/prometheus/rules.yml"
FIGURES = Figures(*range(len(Figures.__dataclass_fields__)))


def exported() -> dict[str, set[str]]:
    """Give the labels of every sample that the archive exports, by name."""
    counted = Metrics(["CT1"])
    counted.association_rejected("CT1")
    counted.operation("C-STORE", "CT1", "success", 1)
    counted.received("CT1", 1)
    counted.sent("CT1", 1)
    counted.commit(1)
    counted.compression("left", 0)
    counted.stored("CT1", 0.1)
    counted.handshake("expired")
    counted.begin_routes([("all", "AI")])
    register_routes(counted.registry, lambda: [Waiting("all", "AI", 1, 2.0, 3)])
    register_expiries(counted.registry, {"tls.ca": 1.0})
    counted.http_request("studies", 200, 0.1, 1, 1)
    register_spool(counted.registry, lambda: 0)
    register_figures(counted.registry, lambda: FIGURES, lambda: Processes({"worker": 1}, 0, 0, 1, 1))
    found: dict[str, set[str]] = {}
    for family in counted.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def asked(text: str) -> set[str]:
    return set(re.findall(r"\bminipacs_[a-z_]+", text))


def promtool(*arguments: object) -> str:
    program = shutil.which("promtool", path=f"{os.environ['PATH']}:{os.path.dirname(sys.executable)}")
    assert program, "tools/test gets promtool"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid_and_fire_when_they_should(tmp_path):
    promtool("check", "rules", RULES)
    promtool("test", "rules", ROOT / "etc/prometheus/rules_test.yml")
    scrape = (ROOT / "etc/prometheus/scrape.yml").read_text().replace("/etc/prometheus/minipacs-rules.yml", str(RULES))
    (tmp_path / "prometheus.yml").write_text(scrape)
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_rules_and_dashboard_ask_for_metrics_that_there_are():
    names = set(exported())
    dashboard = (ROOT / "tools/grafana/minipacs.json").read_text()
    queries = [target["expr"] for panel in json.loads(dashboard)["panels"] for target in panel["targets"]]
    assert len(queries) > 15
    for expression in (*queries, *re.findall(r"expr: (.*)", RULES.read_text())):
        assert asked(expression) <= names, expression
        by = re.findall(r"by \(([a-z, ]+)\)", expression)
        labels = {label for name in asked(expression) for label in exported()[name]} | {"instance"}
        assert {label.strip() for part in by for label in part.split(",")} <= labels, expression


def test_every_metric_is_on_the_dashboard():
    text = (ROOT / "tools/grafana/minipacs.json").read_text()
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in exported()}
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked(text)}
    assert families <= shown


def test_panels_do_not_overlap():
    panels = json.loads((ROOT / "tools/grafana/minipacs.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_alert_is_explained_in_the_manual():
    manual = (ROOT / "docs/operations.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert len(alerts) > 5
    explained = re.findall(r"^\| `(Minipacs\w+)` \|", manual, re.MULTILINE)
    assert explained == alerts
