"""The page in a browser: `./tools/bench/page`. Each repetition is a visitor who has nothing of the page yet."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as BrowserError

from tests.support.browser import launch
from tools.bench import data
from tools.bench.data import Load
from tools.bench.filled_index import Archive, build
from tools.bench.report import machine
from tools.bench.systems import BenchError, Process, free_port

CT = Load("pages", studies=1, series=1, instances=100, rows=512, year=2017)
AE_TITLE = "MINIPACS"
TIMEOUT_MS = 60_000
CONFIG = """
[ae]
port = {port}
[storage]
path = "{storage}"
min_free_bytes = 0
[metrics]
port = 0
[web]
port = {web}
"""

NOTE_PAINTS = """
const note = (name, is_there) => {
  const look = () => {
    if (!is_there()) return requestAnimationFrame(look);
    requestAnimationFrame(() => { window.noted = { ...window.noted, [name]: performance.now() }; });
  };
  look();
};
note("row", () => document.querySelector('[role="grid"] [role="row"]'));
note("image", () => {
  const canvas = document.querySelector("canvas.cornerstone-canvas");
  if (!canvas || !canvas.width) return false;
  const { data } = canvas.getContext("2d").getImageData(canvas.width >> 1, 0, 1, canvas.height);
  return data.some((value, i) => i % 4 < 3 && value > 0);
});
"""
"""Put into the page before all else: notes when the first row of the list, and the first image, are painted."""

FRAMES = "() => performance.getEntriesByType('resource').filter(entry => entry.name.includes('/frames/'))"
ALL_THERE = f"({{count}}) => ({FRAMES})().filter(entry => entry.responseEnd > 0).length >= count"
LAST_FRAME = f"() => Math.max(...({FRAMES})().map(entry => entry.responseEnd))"


class Server:
    """An archive with its page, over a storage folder."""

    def __init__(self, storage: Path, folder: Path) -> None:
        port, web = free_port(), free_port()
        self.url = f"http://127.0.0.1:{web}/"
        self.config = folder / "minipacs.toml"
        self.config.write_text(CONFIG.format(port=port, storage=storage, web=web))
        command = [sys.executable, "-m", "minipacs", "serve", "--config", str(self.config)]
        self.process = Process(command, folder / "log", {})
        self.process.wait_until_serving(port, AE_TITLE)


def visit(browser: Browser, look: Callable[[Page], Sequence[float]]) -> Sequence[float]:
    """Let a new visitor look at something; give what was measured, in milliseconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.add_init_script(NOTE_PAINTS)
    try:
        return look(page)
    finally:
        context.close()


def study_list(page: Page, url: str) -> Sequence[float]:
    """Open the page: until something is painted, and until the first row is."""
    page.goto(url)
    page.wait_for_function("() => window.noted?.row")
    first = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return first, page.evaluate("() => window.noted.row")


def ct(page: Page, url: str) -> Sequence[float]:
    """Open a study in the viewer from its list: until the first image is painted, and until all slices are there."""
    page.goto(f"{url}#/study/{CT.study_uid(0)}")
    page.get_by_role("main").wait_for()
    page.wait_for_load_state("networkidle")
    began = page.evaluate(
        "uid => { const now = performance.now(); location.hash = `#/study/${uid}/view`; return now; }", CT.study_uid(0)
    )
    page.evaluate("() => performance.setResourceTimingBufferSize(2000)")
    page.wait_for_function("() => window.noted?.image")
    page.wait_for_function(ALL_THERE, arg={"count": CT.objects})
    return page.evaluate("() => window.noted.image") - began, page.evaluate(LAST_FRAME) - began


def measure(browser: Browser, url: str, look: Callable[[Page, str], Sequence[float]], reps: int) -> list[list[float]]:
    """Look several times; the first, which warms the archive up, does not count."""
    found = [visit(browser, lambda page: look(page, url)) for _ in range(reps + 1)]
    return [list(values) for values in zip(*found[1:], strict=True)]


def list_figures(browser: Browser, folder: Path, studies: int, reps: int, kept: Path | None) -> dict[str, list[float]]:
    storage = (kept or folder) / f"pages-{studies}"
    if not storage.exists():
        build(Archive(studies, series_of_study=1, instances_of_series=1), storage)
    server = Server(storage, folder)
    try:
        painted, listed = measure(browser, server.url, study_list, reps)
    finally:
        server.process.stop()
    return {f"page painted, {studies} studies": painted, "first rows of the list": listed}


def ct_figures(browser: Browser, folder: Path, reps: int) -> dict[str, list[float]]:
    data.write(CT, folder)
    server = Server(folder / "ct", folder)
    try:
        command = [
            sys.executable,
            "-m",
            "minipacs",
            "import",
            "--config",
            str(server.config),
            str(CT.folder(folder, 0)),
        ]
        subprocess.run(command, check=True, capture_output=True)
        first, whole = measure(browser, server.url, ct, reps)
    finally:
        server.process.stop()
    return {"first image of a CT of 100 x 512 KiB": first, "all of its slices there": whole}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/page", description=__doc__)
    parser.add_argument("--studies", type=int, default=100_000, help="in the list (100000)")
    parser.add_argument("--reps", type=int, default=5, help="visitors (5)")
    parser.add_argument("--folder", type=Path, help="keeps the index, which takes minutes to build, for the next run")
    parser.add_argument("--json", type=Path, help="writes all values to this file")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="minipacs-page-") as name, sync_playwright() as playwright:
            browser = launch(playwright)
            folder = Path(name)
            figures = list_figures(browser, folder, arguments.studies, arguments.reps, arguments.folder)
            figures |= ct_figures(browser, folder, arguments.reps)
            browser.close()
    except (BenchError, BrowserError, OSError, subprocess.CalledProcessError) as error:
        print(f"page: {error}", file=sys.stderr)
        return 1
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    print(f"\nMedians of {arguments.reps}, each a visitor without anything in the browser's cache\n")
    print("| figure | ms | least | most |")
    print("|---|---|---|---|")
    for figure, values in figures.items():
        print(f"| {figure} | {statistics.median(values):.0f} | {min(values):.0f} | {max(values):.0f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "figures": figures}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
