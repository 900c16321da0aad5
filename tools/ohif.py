"""Proves in a browser that OHIF works as it is installed: fetched by npm, opened from the page, alone and behind nginx.

    .venv/bin/python tools/ohif.py [FOLDER]
Pictures of what was seen go into the folder. Needs chromium, nginx, a way to npm, and the page that `tools/page.py`
builds.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))
from minipacs.web.site.installing import KNOWN, PACKAGE
from tests.page import pictures
from tests.support.browser import Served, Watch, launch
from tests.support.nginx import proxied
from tests.support.server import run
from tests.support.signing import PASSCODE, sign_in
from tests.support.wire import free_port

SLICES = 40
SETTINGS = 'behind_proxy = ["127.0.0.1"]'
NPM_TIMEOUT_S = 600
DRAWN_TIMEOUT_MS = 60_000
DRAWN = """
() => [...document.querySelectorAll("canvas")].some(canvas => {
    const small = new OffscreenCanvas(64, 64).getContext("2d");
    small.drawImage(canvas, 0, 0, 64, 64);
    return small.getImageData(0, 0, 64, 64).data.some((value, i) => i % 4 < 3 && value > 60);
})
"""
"""A canvas on which something is."""


def install(served: Served, *what: object) -> str:
    """Install it by command; give what that says."""
    return run("viewer", "install", "--config", served.server.config, *what).stdout.strip()


def look(browser: Browser, url: str, study: str, shots: Path, name: str) -> None:
    """Sign in, open a study in OHIF from the page, look at an image of it, then at OHIF's own list."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    watches = [Watch(page, url)]
    page.goto(f"{url}#/study/{study}")
    sign_in(page, "anna")
    with context.expect_page() as opened:
        page.get_by_role("link", name="Open in OHIF").click()
    viewer = opened.value
    watches.append(Watch(viewer, url))
    seen_drawn(viewer)
    expect(viewer.get_by_text("Phantom 1.0").first).to_be_visible()
    viewer.screenshot(path=shots / f"{name}-study.png")
    viewer.goto(f"{url}ohif/")
    expect(viewer.get_by_text("Rossi, Anna")).to_be_visible(timeout=DRAWN_TIMEOUT_MS)
    viewer.screenshot(path=shots / f"{name}-list.png")
    context.close()
    for watch in watches:
        watch.check()


def seen_drawn(viewer: Page) -> None:
    viewer.wait_for_function(DRAWN, timeout=DRAWN_TIMEOUT_MS)
    viewer.get_by_text("Skip all").click()


def main(arguments: list[str]) -> None:
    shots = Path(arguments[0]) if arguments else Path(tempfile.mkdtemp(prefix="minipacs-ohif-"))
    with tempfile.TemporaryDirectory(prefix="minipacs-ohif-") as name, sync_playwright() as playwright:
        folder = Path(name)
        served = Served(folder / "site", free_port(), [], SETTINGS)
        browser = launch(playwright)
        try:
            run("passwd", "anna", "--allow", "read", config=served.server.config, input=f"{PASSCODE}\n{PASSCODE}\n")
            study = pictures.Study()
            served.store(*pictures.ct(study, SLICES, 256, 0.8, 1.5))
            for version in list(KNOWN)[:-1]:
                packed = ["npm", "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", name]
                subprocess.run(packed, check=True, timeout=NPM_TIMEOUT_S, stdout=subprocess.DEVNULL)
                print(install(served, *folder.glob(f"*{version}.tgz")), flush=True)
                look(browser, served.url, str(study.uid), shots, version)
            print(install(served, "--npm"), flush=True)
            look(browser, served.url, str(study.uid), shots, "npm")
            with proxied(folder, served.port) as site:
                look(browser, site.url, str(study.uid), shots, "nginx")
        finally:
            browser.close()
            served.stop()
    print(f"OHIF was seen to work; pictures are in {shots}")


if __name__ == "__main__":
    main(sys.argv[1:])
