"""How the page stands up: accessible in every look, narrow, by keyboard alone, with hostile text in every attribute."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Served, check_accessibility, shoot
from tests.support.objects import ct

Open = Callable[..., Page]

LOOKS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 375, "height": 740}, "color_scheme": "dark"},
}
SCREENS = ("studies", "upload", "worklist", "operations", "operations/associations", "operations/queue", "nowhere")

SCRIPT = "<script>window.ran=1</script>\"'><img src=x onerror=window.ran=1>"
OVERRIDE = "evil\u202egpj.exe\u202c \u0007"


def wait_until_still(page: Page) -> None:
    page.get_by_role("main").wait_for()
    expect(page.locator(".loading")).to_have_count(0)


def check_width(page: Page) -> None:
    """Fail if anything stands beyond the edge of the page."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    main = page.get_by_role("main")
    assert main.evaluate("main => main.scrollWidth <= main.clientWidth")


@pytest.mark.parametrize("look", LOOKS)
def test_every_screen_is_accessible(archive: Served, open_page: Open, look: str):
    stored = ct(PatientName="Look^Lou", PatientID=f"L{look}")
    archive.store(stored)
    page = open_page(archive, **LOOKS[look])
    for screen in (*SCREENS, f"study/{stored.StudyInstanceUID}"):
        page.goto(f"{archive.url}#/{screen}")
        wait_until_still(page)
        check_accessibility(page)
        check_width(page)
        shoot(page, f"{look}-{screen.replace('/', '-')[:30]}")
    for button in ("Send", "Delete"):
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        check_accessibility(page)
        page.keyboard.press("Escape")


def test_the_theme_is_kept(archive: Served, open_page: Open):
    page = open_page(archive)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: light").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(ground) == dark


def test_studies_are_found_and_opened_by_keys_alone(archive: Served, open_page: Open):
    archive.store(*(ct(PatientName=f"Keys^{i}", PatientID=f"KEYS{i}") for i in range(4)))
    page = open_page(archive, "/upload")
    page.get_by_role("heading", name="Upload").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.get_by_role("grid").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("keys")
    expect(page.get_by_role("grid").get_by_role("row")).to_have_count(4)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    details = page.get_by_role("complementary")
    expect(details).to_contain_text("Keys, ")
    first = details.locator(".mono").inner_text()
    page.keyboard.press("ArrowDown")
    expect(details.locator(".mono")).not_to_have_text(first)
    page.keyboard.press("Escape")
    expect(details).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("grid")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Accession number")).to_be_focused()


def test_hostile_text_is_shown_as_text(archive: Served, open_page: Open):
    text = {"SpecificCharacterSet": "ISO_IR 192"}
    stored = ct(
        PatientName=f"{SCRIPT[:50]}^{OVERRIDE}",
        PatientID=f"HOSTILE{SCRIPT[:50]}",
        AccessionNumber='"><b>1</b>',
        StudyDescription=f"{SCRIPT} {OVERRIDE}",
        SeriesDescription=SCRIPT,
        ReferringPhysicianName="\u0639\u0644\u064a^\u0645\u062d\u0645\u062f",
        InstitutionName="I" * 10_000,
        BodyPartExamined="<b>X",
        **text,
    )
    archive.store(stored)
    page = open_page(archive, "/studies?q=HOSTILE&by=id")
    page.get_by_role("grid").get_by_role("row").first.click()
    details = page.get_by_role("complementary")
    expect(details).to_contain_text(SCRIPT)
    expect(details.locator(".mark").first).to_have_text("U+202E")
    expect(details.locator(".mark").filter(has_text="U+0007").first).to_be_visible()
    check_accessibility(page)
    assert page.evaluate("window.ran") is None
    assert page.locator("b").count() == 0
    page.set_viewport_size({"width": 375, "height": 740})
    page.goto(f"{archive.url}#/study/{stored.StudyInstanceUID}")
    wait_until_still(page)
    check_width(page)
    shoot(page, "hostile")


def test_studies_without_names_or_dates_are_shown(archive: Served, open_page: Open):
    empty = dict.fromkeys(
        ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"), ""
    )
    stored = ct(PatientID="", StudyDescription=None, **empty)
    archive.store(stored)
    page = open_page(archive, f"/study/{stored.StudyInstanceUID}")
    for words in ("no name", "no birth date", "no date", "none"):
        expect(page.get_by_text(words).first).to_be_visible()
    check_accessibility(page)


@pytest.mark.parametrize(
    ("locale", "written"), [("de-DE", "15. Jan. 2024"), ("en-US", "Jan 15, 2024"), ("ja-JP", "2024年1月15日")]
)
def test_dates_and_names_are_in_the_locale(archive: Served, open_page: Open, locale: str, written: str):
    stored = ct(PatientName="Yamada^Tarou=山田^太郎", PatientID="JP1", SpecificCharacterSet="ISO_IR 192")
    archive.store(stored)
    page = open_page(archive, f"/study/{stored.StudyInstanceUID}", locale=locale)
    expect(page.get_by_text(written).first).to_be_visible()
    name = "山田 太郎 (Yamada, Tarou)" if locale == "ja-JP" else "Yamada, Tarou (山田 太郎)"
    expect(page.get_by_text(name)).to_be_visible()
