"""Looking at images: what one does with a mouse or with keys alone, and what is told in words and numbers."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
from playwright.sync_api import Locator, Page, expect
from pydicom.dataset import FileDataset

from tests.page import pictures
from tests.page.test_viewer_pictures import READ, drawn, save, windowed
from tests.support.browser import Served, check_accessibility, shoot

SIDE = 128
SLICES = 60
SPACING_MM, STEP_MM = 0.8, 1.5
CLIP = Path(__file__).parent / "data/clip.mp4"

Open = Callable[..., Page]


@dataclass
class Held:
    """An archive, and the objects of one study in it."""

    served: Served
    study: pictures.Study
    slices: list[FileDataset]

    def view(self, open_page: Open, series: str = "", route: str = "", **options: object) -> Page:
        """Open the viewer, and wait until it shows something."""
        end = f"/{series}" if series else ""
        page = open_page(self.served, route or f"/study/{self.study.uid}/view{end}", **options)
        page.locator(".viewer-number, .viewer-document").first.wait_for()
        return page


@pytest.fixture(scope="module")
def held(archive: Served, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """A CT of a sphere with all that may lie beside it."""
    folder = tmp_path_factory.mktemp("study")
    study = pictures.Study()
    slices = list(pictures.ct(study, SLICES, SIDE, SPACING_MM, STEP_MM))
    others = [
        pictures.segmentation(study, slices[20:40]),
        pictures.structures(study, slices[20:40]),
        pictures.pdf(study, "Hello from the archive"),
        pictures.report(study, slices[30].SOPInstanceUID),
        pictures.ecg(study),
        pictures.video(study, CLIP.read_bytes()),
    ]
    archive.store_file(*(save(found, folder) for found in (*slices, *others)))
    return Held(archive, study, slices)


def middle(page: Page) -> tuple[float, float]:
    """Give the place of the middle of the picture."""
    box = page.locator(".viewer-canvas").first.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, right: int, down: int, at: tuple[float, float] = (0, 0)) -> None:
    """Drag from a place beside the middle."""
    x, y = middle(page)
    page.mouse.move(x + at[0], y + at[1])
    page.mouse.down()
    page.mouse.move(x + at[0] + right / 2, y + at[1] + down / 2)
    page.mouse.move(x + at[0] + right, y + at[1] + down)
    page.mouse.up()


def series(page: Page, name: str) -> Locator:
    return page.locator(".viewer-series", has_text=name)


def to_slice(page: Page, number: int) -> None:
    """Go to a slice by keys."""
    page.keyboard.press("Home")
    for _ in range((number - 1) // 10):
        page.keyboard.press("PageDown")
    for _ in range((number - 1) % 10):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".viewer-number").first).to_have_text(f"{number}/{SLICES}")


def test_whose_picture_it_is_and_how_it_was_made_is_told_as_text(held: Held, open_page: Open):
    page = held.view(open_page)
    for place in (".viewer-patient", ".viewer-overlay"):
        for text in ("Rossi, Anna", "14 Mar 1961", "P1"):
            expect(page.locator(place)).to_contain_text(text)
    for text in ("1/60", "W 400 L 40", "120 kVp", "1.5 mm thick", "Phantom 1.0"):
        expect(page.locator(".viewer-overlay")).to_contain_text(text)
    expect(page.get_by_role("group", name="Picture 1 of 60")).to_be_visible()


def test_wheel_and_keys_go_through_the_stack_and_stop_at_its_ends(held: Held, open_page: Open):
    page = held.view(open_page)
    number = page.locator(".viewer-number")
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, 100)
    expect(number).to_have_text("2/60")
    page.keyboard.press("End")
    expect(number).to_have_text("60/60")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("PageUp")
    expect(number).to_have_text("50/60")
    page.keyboard.press("Home")
    expect(number).to_have_text("1/60")


def test_a_drag_changes_the_window_and_the_picture(held: Held, open_page: Open):
    page = held.view(open_page)
    to_slice(page, 31)
    values = held.slices[30].pixel_array.astype(float) - 1024
    assert (drawn(page, SIDE, SIDE) == windowed(values, 40, 400)).all()
    drag(page, 100, 30)
    window = page.locator(".viewer-window")
    expect(window).not_to_have_text("W 400 L 40")
    found = re.fullmatch(r"W (\S+) L (\S+)", window.inner_text())
    assert found
    width, center = map(float, found.groups())
    assert width > 400
    assert center < 40
    assert (drawn(page, SIDE, SIDE) == windowed(values, center, width)).all()


def test_windows_are_chosen_by_name_and_set_by_number(held: Held, open_page: Open):
    page = held.view(open_page)
    window = page.locator(".viewer-window")
    page.get_by_role("combobox", name="Windows").select_option(label="As stored: Lung")
    expect(window).to_have_text("W 1500 L -600")
    page.get_by_role("combobox", name="Windows").select_option(label="Bone")
    expect(window).to_have_text("W 1800 L 400")
    page.get_by_role("spinbutton", name="Width").fill("321")
    page.get_by_role("spinbutton", name="Width").press("Enter")
    expect(window).to_have_text("W 321 L 400")
    page.get_by_role("button", name="Reset").click()
    expect(window).to_have_text("W 400 L 40")


def test_the_pixel_under_the_pointer_is_told_in_hounsfield_units(held: Held, open_page: Open):
    page = held.view(open_page)
    to_slice(page, 31)
    page.keyboard.press("e")
    x, y = middle(page)
    page.mouse.move(x + 10.5, y + 20.5)
    value = page.locator(".viewer-value")
    expect(value).to_contain_text("HU")
    found = re.fullmatch(r"x (\d+) y (\d+): (-?\d+) HU", value.inner_text())
    assert found
    column, row, units = map(int, found.groups())
    assert (column, row) == (SIDE // 2 + 10, SIDE // 2 + 20)
    assert units == held.slices[30].pixel_array[row, column] - 1024


def test_a_known_length_and_a_right_angle_are_measured(held: Held, open_page: Open):
    page = held.view(open_page)
    page.keyboard.press("e")
    page.keyboard.press("d")
    page.keyboard.press("l")
    drag(page, 50, 0, at=(-25, 0))
    panel = page.locator(".viewer-panel")
    expect(panel).to_contain_text(f"Length: {50 * SPACING_MM:.1f} mm")
    page.keyboard.press("a")
    x, y = middle(page)
    drag(page, 0, 30, at=(-20, 10))
    page.mouse.move(x + 10, y + 40)
    page.mouse.down()
    page.mouse.up()
    expect(panel).to_contain_text("Angle: 90.0°")
    expect(page.locator(".viewer-canvas svg text").first).to_contain_text("40.0 mm")
    page.get_by_role("button", name="Remove 40.0 mm").click()
    expect(panel).not_to_contain_text("Length")


def test_one_can_measure_with_keys_alone(held: Held, open_page: Open):
    page = held.view(open_page)
    page.keyboard.press("d")
    page.keyboard.press("l")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".viewer-value")).to_contain_text(f"x {SIDE // 2 + 1} y {SIDE // 2}")
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Shift+Alt+ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".viewer-panel")).to_contain_text(f"Length: {30 * SPACING_MM:.1f} mm")
    page.keyboard.press("Delete")
    expect(page.locator(".viewer-panel")).not_to_contain_text("Length:")


@pytest.mark.parametrize(
    ("keys", "turned"),
    [
        ("r", lambda picture: numpy.rot90(picture, -1)),
        ("R", numpy.rot90),
        ("h", lambda picture: picture[:, ::-1]),
        ("v", lambda picture: picture[::-1]),
        ("i", lambda picture: 255 - picture),
    ],
)
def test_pictures_are_turned_flipped_and_inverted(
    held: Held, open_page: Open, keys: str, turned: Callable[..., numpy.ndarray]
):
    page = held.view(open_page)
    to_slice(page, 31)
    page.keyboard.press(keys)
    picture = windowed(held.slices[30].pixel_array.astype(float) - 1024, 40, 400)
    assert (drawn(page, SIDE, SIDE) == turned(picture)).all()


def bright(page: Page) -> tuple[int, float, float]:
    """Tell how many pixels of the canvas are bright, and where their middle lies, right and down."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    width, height, data = page.evaluate(READ)
    canvas = numpy.frombuffer(base64.b64decode(data), numpy.uint8).reshape(height, width, 4)[..., 0]
    rows, columns = numpy.nonzero(canvas > 100)
    return len(rows), float(columns.mean()), float(rows.mean())


def test_a_drag_moves_and_enlarges_the_picture(held: Held, open_page: Open):
    page = held.view(open_page)
    to_slice(page, 31)
    page.keyboard.press("e")
    size, right, down = bright(page)
    page.keyboard.press("p")
    drag(page, 60, 25)
    moved_size, moved_right, moved_down = bright(page)
    assert moved_size == size
    assert (moved_right - right, moved_down - down) == pytest.approx((60, 25), abs=2)
    page.keyboard.press("z")
    drag(page, 0, 80)
    changed = bright(page)[0]
    drag(page, 0, -160)
    assert {changed > size, bright(page)[0] > size} == {True, False}
    page.keyboard.press("x")
    page.keyboard.press("e")
    assert bright(page) == pytest.approx((size, right, down), abs=0.01)


def test_stacks_are_scrolled_together(held: Held, open_page: Open):
    page = held.view(open_page)
    page.keyboard.press("g")
    page.locator("[data-cell='cell-2']").click()
    series(page, "CT Series 1").click()
    numbers = [page.locator(f"[data-cell='cell-{n}'] .viewer-number") for n in (1, 2)]
    page.keyboard.press("Home")
    expect(numbers[1]).to_have_text(f"1/{SLICES}")
    page.keyboard.press("y")
    page.keyboard.press("PageDown")
    for number in numbers:
        expect(number).to_have_text(f"11/{SLICES}")


def test_directions_turn_with_the_picture(held: Held, open_page: Open):
    page = held.view(open_page)

    def edges() -> str:
        return "".join(
            page.locator(f".viewer-direction.{edge}").inner_text() for edge in ("top", "right", "bottom", "left")
        )

    assert edges() == "ALPR"
    page.keyboard.press("r")
    expect(page.locator(".viewer-direction.top")).to_have_text("R")
    assert edges() == "RALP"
    page.keyboard.press("x")
    page.keyboard.press("h")
    expect(page.locator(".viewer-direction.right")).to_have_text("R")
    assert edges() == "ARPL"


def test_a_clip_plays_at_the_pace_of_its_object(archive: Served, open_page: Open, tmp_path: Path):
    study = pictures.Study("Neri^Ugo", "CINE1", "19500505")
    frames = numpy.arange(20, dtype=numpy.uint8)[:, None, None] * numpy.ones((1, 32, 32), numpy.uint8) * 10
    clip = study.series().picture(
        frames, "MONOCHROME2", "US", sop_class_uid=pictures.ULTRASOUND_MULTI_FRAME, FrameTime="40"
    )
    archive.store_file(save(clip, tmp_path))
    page = Held(archive, study, []).view(open_page)
    expect(page.get_by_role("spinbutton", name="Pictures a second")).to_have_value("25")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.locator(".viewer-number", has_text=re.compile("^(1[0-9]|20)/20")).wait_for()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_a_regular_stack_is_cut_along_all_three_axes(held: Held, open_page: Open):
    page = held.view(open_page)
    to_slice(page, 31)
    page.keyboard.press("m")
    cells = page.locator(".viewer-cell")
    expect(cells).to_have_count(3)
    for index, plane in enumerate(("Axial", "Coronal", "Sagittal")):
        expect(cells.nth(index)).to_contain_text(plane)
    expect(cells.nth(1)).to_contain_text(f"{SIDE // 2 + 1}/{SIDE}")
    assert page.locator(".viewer-reference").count() == 2
    volume = numpy.stack([found.pixel_array for found in held.slices])
    cells.nth(1).click()
    page.keyboard.press("Shift+ArrowRight")
    value = cells.nth(1).locator(".viewer-value")
    found = re.fullmatch(r"x (\d+) y (\d+): (-?\d+) HU", value.inner_text())
    assert found
    column, row, units = map(int, found.groups())
    assert units == volume[SLICES - 1 - row, SIDE // 2, column] - 1024
    shoot(page, "viewer-mpr")
    page.keyboard.press("m")
    expect(cells).to_have_count(1)
    expect(page.locator(".viewer-number")).to_have_text("31/60")


def test_what_cannot_be_cut_says_why(archive: Served, open_page: Open, tmp_path: Path):
    study = pictures.Study("Neri^Ugo", "MPR1", "19500505")
    slices = list(pictures.ct(study, 6, 32))
    archive.store_file(*(save(found, tmp_path) for found in (*slices[:3], *slices[4:])))
    page = Held(archive, study, []).view(open_page)
    page.keyboard.press("m")
    page.get_by_text("equal distances").wait_for()
    expect(page.locator(".viewer-cell")).to_have_count(1)


def test_segmentations_and_structures_are_outlined_where_they_lie(held: Held, open_page: Open):
    page = held.view(open_page)
    to_slice(page, 31)
    page.keyboard.press("e")
    series(page, "Sphere").click()
    series(page, "Plan").click()
    contours = page.locator(".viewer-contour")
    expect(contours).to_have_count(2)
    sizes = [contour.evaluate("path => path.getBBox().width") * SPACING_MM for contour in contours.all()]
    assert abs(sizes[0] - 2 * pictures.SPHERE_MM) <= 2
    assert abs(sizes[1] - 40) <= 2
    page.get_by_role("checkbox", name="Target").uncheck()
    expect(contours).to_have_count(1)
    page.keyboard.press("Home")
    expect(contours).to_have_count(0)


def test_a_report_is_read_and_leads_to_its_picture(held: Held, open_page: Open):
    page = held.view(open_page)
    series(page, "Report").click()
    report = page.locator(".viewer-report")
    expect(report).to_contain_text("Finding: A sphere of water. <script>alert(1)</script> Nothing else.")
    expect(report).to_contain_text("Length: 80 mm")
    expect(page.locator(".viewer-document-patient")).to_contain_text("Rossi, Anna")
    report.get_by_role("button", name="See the picture").click()
    expect(page.locator(".viewer-number")).to_have_text("31/60")


def test_a_document_is_shown_by_the_browsers_reader(held: Held, open_page: Open):
    page = held.view(open_page)
    with page.expect_response(re.compile("rendered")) as told:
        series(page, "Letter").click()
    assert told.value.headers["content-type"] == "application/pdf"
    frame = page.frame_locator("iframe[title='Discharge letter']")
    assert frame
    expect(page.get_by_role("link", name="Download")).to_have_attribute("href", re.compile("application%2Fpdf"))


def test_a_video_plays(held: Held, open_page: Open):
    page = held.view(open_page)
    series(page, "Clip").click()
    video = page.locator("video")
    video.wait_for()
    page.evaluate("() => document.querySelector('video').play()")
    assert page.evaluate(
        "() => [document.querySelector('video').videoWidth, document.querySelector('video').duration]"
    ) == [64, 1]


def test_an_ecg_is_drawn_and_told(held: Held, open_page: Open):
    page = held.view(open_page)
    series(page, "12 leads").click()
    paper = page.get_by_role("img", name="12 leads over 4 s")
    paper.wait_for()
    for lead in pictures.LEADS:
        assert page.locator(f"[data-lead='{lead}'] path").count() == 1
    expect(page.locator(".viewer-waveform dl")).to_contain_text("Heart rate75 /min")
    page.locator(".viewer-waveform summary").click()
    expect(page.get_by_role("row", name="I 0 uV 1000 uV")).to_be_visible()


def test_two_patients_beside_each_other_are_never_taken_for_one(archive: Served, open_page: Open, tmp_path: Path):
    first, second = pictures.Study("Gallo^Pia", "TWIN", "19800101"), pictures.Study("Gallo^Pio", "TWIN", "19800101")
    archive.store_file(*(save(found, tmp_path) for study in (first, second) for found in pictures.ct(study, 3, 32)))
    page = Held(archive, first, []).view(open_page)
    page.keyboard.press("g")
    page.locator("[data-cell='cell-2']").click()
    page.locator(".viewer-strip summary").click()
    page.locator(".viewer-strip details .viewer-series").click()
    page.get_by_role("alert").get_by_text("Two patients are shown").wait_for()
    expect(page.locator("[data-cell='cell-1'] .viewer-overlay")).to_contain_text("Gallo, Pia")
    expect(page.locator("[data-cell='cell-2'] .viewer-overlay")).to_contain_text("Gallo, Pio")


def test_hostile_text_is_text(archive: Served, open_page: Open, tmp_path: Path):
    name = "<script>alert(1)</script>^\u202eevil"
    study = pictures.Study(name, "\"'><script>", "notadate")
    series_ = study.series()
    found = series_.picture(numpy.zeros((16, 16), numpy.uint8), "MONOCHROME2", SeriesDescription="<b>" + "x" * 9997)
    archive.store_file(save(found, tmp_path))
    page = Held(archive, study, []).view(open_page)
    expect(page.locator(".viewer-overlay")).to_contain_text("<script>alert(1)</script>")
    expect(page.locator(".viewer-overlay")).to_contain_text("U+202E")
    assert page.locator(".viewer script").count() == 0
    assert page.locator(".viewer b").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(held: Held, open_page: Open, scheme: str):
    page = held.view(open_page, color_scheme=scheme)
    page.keyboard.press("d")
    series(page, "Sphere").click()
    page.locator(".viewer-segment").wait_for()
    shoot(page, f"viewer-{scheme}")
    check_accessibility(page)
    series(page, "Report").click()
    page.locator(".viewer-report").wait_for()
    check_accessibility(page)
    series(page, "12 leads").click()
    page.locator(".viewer-waveform").wait_for()
    check_accessibility(page)
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    check_accessibility(page)


def test_a_narrow_screen_shows_the_picture_and_all_words(held: Held, open_page: Open):
    page = held.view(open_page, viewport={"width": 375, "height": 700})
    shoot(page, "viewer-narrow")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 375
    box = page.locator(".viewer-canvas").bounding_box()
    assert box
    assert box["height"] > 250
    expect(page.locator(".viewer-overlay")).to_contain_text("Rossi, Anna")


def test_keys_are_listed_and_escape_leads_back(held: Held, open_page: Open):
    page = held.view(open_page)
    page.watch.expect("/thumbnail?viewport=160,160")  # type: ignore[attr-defined]  # of what has no picture: PDF, video
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keys of the viewer")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(f"#/study/{held.study.uid}$"))
