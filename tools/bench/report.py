"""What was measured, as a table for people and as JSON."""

import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tools.bench.systems import System
from tools.bench.works import Figure, Work


class Results:
    """The values of each figure for each system, one for each repetition, and what went wrong."""

    def __init__(self, works: Sequence[Work], systems: Sequence[type[System]]) -> None:
        self._figures = [figure for work in works for figure in work.figures]
        self._systems = list(systems)
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.notes: dict[str, str] = {}

    def add(self, work: Work, system: System, values: Sequence[float]) -> None:
        for figure, value in zip(work.figures, values, strict=True):
            self._values[figure.name, system.name].append(value)

    def table(self) -> str:
        """Lay out medians, and of each peer how many times ours they are, as Markdown."""
        ours, *peers = (system.name for system in self._systems)
        header = ["figure", "unit", ours, *(text for peer in peers for text in (peer, f"{peer} / {ours}"))]
        rows = [self._row(figure, ours, peers) for figure in self._figures]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [header, ["-" * width for width in widths], *rows]
        return "\n".join("| " + " | ".join(map(_pad, line, widths, range(len(line)))) + " |" for line in lines)

    def document(self, reps: int) -> dict[str, object]:
        return {
            "machine": machine(),
            "versions": {system.name: system.version() for system in self._systems},
            "repetitions": reps,
            "figures": {figure.name: self._entry(figure) for figure in self._figures},
            "notes": self.notes,
        }

    def _row(self, figure: Figure, ours: str, peers: Sequence[str]) -> list[str]:
        row = [figure.name, figure.unit, _shown(self._median(figure, ours))]
        for peer in peers:
            ratio = self._ratio(figure, peer, ours)
            row += [_shown(self._median(figure, peer)), "-" if ratio is None else f"{ratio:.1f}"]
        return row

    def _entry(self, figure: Figure) -> dict[str, object]:
        ours = self._systems[0].name
        systems = {}
        for system in self._systems:
            values = self._values[figure.name, system.name]
            if values:
                ratio = self._ratio(figure, system.name, ours)
                systems[system.name] = {"median": statistics.median(values), "values": values, "ratio": ratio}
        return {"unit": figure.unit, "what": figure.what, "systems": systems}

    def _median(self, figure: Figure, system: str) -> float | None:
        values = self._values[figure.name, system]
        return statistics.median(values) if values else None

    def _ratio(self, figure: Figure, peer: str, ours: str) -> float | None:
        median, of = self._median(figure, peer), self._median(figure, ours)
        return None if median is None or of is None or min(median, of) <= 0 else median / of


def machine() -> dict[str, object]:
    """Describe the machine, as far as it explains figures."""
    model = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[0] if model else platform.machine(),
        "memory_mib": memory[0] // 1024 if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _pad(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)


def _shown(value: float | None) -> str:
    """Show about three digits."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
