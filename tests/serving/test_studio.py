"""The studio in a real Chromium: what a person sees, with pointer and keyboard, in two tabs, without a server."""

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import until
from tests.serving.live import gateway

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.xdist_group("studio"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Solids are drawn without a GPU here.
        arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with gateway(tmp_path_factory.mktemp("studio") / "store") as pair:
        yield pair


@pytest.fixture
def page(browser, live) -> Iterator[Any]:
    server, _ = live
    context = browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 860})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto("/")
    page.get_by_text("connected").wait_for()
    yield page
    context.close()
    assert problems == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the program of axe-core, out of the npm registry."""
    if path := os.environ.get("TGM_AXE"):
        return Path(path).read_text("utf-8")
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("needs npm for axe-core")
    done = subprocess.run([npm, "pack", "axe-core"], cwd=folder, capture_output=True, timeout=60, check=False)
    archives = list(folder.glob("axe-core-*.tgz"))
    if done.returncode or not archives:
        pytest.skip("axe-core could not be fetched")
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def draw(page: Any, text: str, **more: object) -> None:
    """Fill the form in and submit it."""
    page.get_by_label("Text", exact=False).first.fill(text)
    if more and page.locator("#more").get_attribute("open") is None:
        page.get_by_text("More options").click()
    for name, value in more.items():
        page.get_by_label(name.replace("_", " ").capitalize(), exact=False).first.fill(str(value))
    page.get_by_role("button", name="Draw").click()


def card(page: Any, text: str) -> Any:
    return page.locator(".group", has=page.get_by_role("heading", name=text, exact=True)).locator(".card").first


def state(page: Any, text: str, value: str, seconds: float = 20.0) -> None:
    card(page, text).locator(f"xpath=self::*[@data-state='{value}']").wait_for(timeout=seconds * 1000)


def test_submit_and_see_it_grow(page) -> None:
    draw(page, "growing", steps=150, pause_s=0.03)
    image = card(page, "growing").locator("img")
    image.wait_for()
    sources = set()
    until(lambda: sources.add(image.get_attribute("src")) or len(sources) >= 3)
    assert all(source.startswith("blob:") for source in sources)
    assert "growing, seed 0, growing" in image.get_attribute("alt")
    bar = card(page, "growing").get_by_role("progressbar")
    assert 0 < float(bar.evaluate("bar => bar.value / bar.max")) <= 1
    state(page, "growing", "done")
    assert "Done in" in card(page, "growing").inner_text() and not bar.is_visible()
    with page.expect_download() as download:
        card(page, "growing").get_by_role("button", name="Download SVG").click()
    assert download.value.suggested_filename == "toy-0.svg"
    with page.expect_download() as download:
        card(page, "growing").get_by_role("button", name="Download PNG").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_refresh_in_the_middle_and_a_link_that_works(page) -> None:
    draw(page, "refreshed", steps=200, pause_s=0.02)
    card(page, "refreshed").locator("a").click()
    page.wait_for_url("**/job/*")
    page.reload()
    detail = page.locator("#detail")
    detail.get_by_role("heading", name="refreshed").wait_for()
    detail.get_by_text("Done in").wait_for(timeout=20000)
    assert detail.locator("img").get_attribute("src").startswith("blob:")
    assert "python -m runtime.toy refreshed --steps 200" in detail.inner_text()
    page.get_by_role("link", name="All drawings").click()
    assert not detail.is_visible() and page.url.endswith("/")


def test_cancel(page) -> None:
    draw(page, "cancelled one", steps=5000, pause_s=0.02)
    state(page, "cancelled one", "running")
    card(page, "cancelled one").get_by_role("button", name="Cancel").click()
    state(page, "cancelled one", "cancelled")
    card(page, "cancelled one").get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="cancelled one").wait_for(state="detached")


@pytest.mark.slow
def test_the_queue_shows_how_many_go_before(page) -> None:
    draw(page, "first in line", steps=5000, pause_s=0.02)
    state(page, "first in line", "running")
    for text in ("second in line", "third in line"):
        draw(page, text, steps=3, pause_s=0)
    card(page, "second in line").get_by_text("Next in the queue").wait_for()
    card(page, "third in line").get_by_text("Queued, 1 before it").wait_for()
    card(page, "first in line").get_by_role("button", name="Cancel").click()
    state(page, "third in line", "done")


def test_a_second_tab_shows_the_same(page, browser, live) -> None:
    other = page.context.new_page()
    other.goto("/")
    other.get_by_text("connected").wait_for()
    draw(page, "in two tabs", steps=60, pause_s=0.02)
    state(other, "in two tabs", "done")
    state(page, "in two tabs", "done")
    other.reload()
    state(other, "in two tabs", "done")
    other.close()


@pytest.mark.slow
def test_a_wrong_value_is_said_in_the_servers_words(page) -> None:
    page.get_by_text("More options").click()
    page.get_by_label("Mask", exact=False).first.fill("/etc/passwd")
    page.get_by_role("button", name="Draw").click()
    page.get_by_text("--mask: expected a file that you send").wait_for()


@pytest.mark.slow
def test_drop_a_picture(page) -> None:
    code = (
        "() => { const given = new DataTransfer(); given.items.add(new File(['12345'], 'photo.png')); return given; }"
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": page.evaluate_handle(code)})
    page.get_by_text("photo.png").first.wait_for()
    draw(page, "with a file")
    state(page, "with a file", "done")


def test_an_svg_cannot_run_scripts(page, live) -> None:
    _, client = live
    text = "</title><script>parent.ran = true; document.title = 'ran'</script><title>"
    draw(page, text)
    state(page, text, "done")
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    job = client.get("/v1/jobs").json()["jobs"][0]
    assert job["options"]["text"] == text
    page.goto(f"/v1/jobs/{job['id']}/files/toy.svg")
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None and page.title() != "ran"


RED = """canvas => {
    const gl = canvas.getContext("webgl"), pixels = new Uint8Array(4 * canvas.width * canvas.height);
    gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) count += pixels[i] > 100 && pixels[i + 1] < 60;
    return count;
}"""
"""Counts the red pixels of a canvas."""


def test_a_solid_is_shown_turned_and_downloaded(browser, axe: str, tmp_path: Path) -> None:
    with gateway(tmp_path / "store", modules=("tests.serving.solid",)) as (server, _):
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(server.url)
        page.get_by_text("connected").wait_for()
        page.locator("#fields textarea").fill("a red solid")
        page.get_by_role("button", name="Draw").click()
        state(page, "a red solid", "done")
        assert card(page, "a red solid").locator("img").get_attribute("src").startswith("blob:"), "its last preview"
        for kind, start in (("GLB", b"glTF"), ("MP4", b"\0\0\0"), ("JSON", b"{}")):
            with page.expect_download() as download:
                card(page, "a red solid").get_by_role("button", name=f"Download {kind}").click()
            assert Path(download.value.path()).read_bytes().startswith(start)
        card(page, "a red solid").locator("a").first.click()
        canvas = page.get_by_role("img", name="a red solid in 3D")
        until(lambda: canvas.evaluate(RED) > 1000)
        before = canvas.evaluate(RED)
        canvas.focus()
        for key in ("ArrowLeft", "ArrowUp", "+", "+"):
            page.keyboard.press(key)
        assert canvas.evaluate(RED) > before, "it is nearer"
        film = page.locator("video")
        until(lambda: film.evaluate("video => video.videoWidth"))
        assert film.evaluate("video => [video.videoWidth, video.paused, video.controls]") == [32, True, True]
        assert problems == []
        with browser.new_context(bypass_csp=True) as context:
            other = context.new_page()
            other.goto(page.url)
            other.locator("#detail video").wait_for()
            other.evaluate(axe)
            assert other.evaluate("axe.run()")["violations"] == []
        page.close()


def test_words_or_a_picture(browser, tmp_path: Path) -> None:
    with gateway(tmp_path / "store", modules=("tests.serving.solid",)) as (server, client):
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_text("connected").wait_for()
        page.set_input_files("input[type=file]", {"name": "mug.png", "mimeType": "image/png", "buffer": b"12345"})
        page.get_by_role("button", name="Draw").click()
        page.locator(".card[data-state=done]").wait_for()
        (job,) = client.get("/v1/jobs").json()["jobs"]
        assert job["options"]["prompt"] == "mug.png"
        assert client.get(f"/v1/jobs/{job['id']}/inputs/prompt").content == b"12345"
        page.close()


@pytest.mark.slow
def test_compare_two(page) -> None:
    for text in ("left one", "right one"):
        draw(page, text)
        state(page, text, "done")
        card(page, text).get_by_label("compare").check()
    page.get_by_role("button", name="Compare two").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert "left one" in dialog.locator("tr.differs").first.inner_text()
    dialog.get_by_label("How much").fill("10")
    assert "90%" in dialog.locator("#wipe-b").evaluate("image => image.style.clipPath")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


@pytest.mark.slow
def test_by_keyboard_alone(page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the drawings"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "text":
            break
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    state(page, "by keyboard", "done")
    assert "submitted" in page.locator("#live").inner_text() or "done" in page.locator("#live").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 768, 1920])
def test_it_fits_every_width(page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    draw(page, "x" * 80)
    state(page, "x" * 80, "done")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_on_a_phone_a_new_drawing_comes_into_view(browser, live) -> None:
    context = browser.new_context(base_url=live[0].url, viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    page.goto("/")
    page.get_by_text("connected").wait_for()
    draw(page, "from a phone")
    state(page, "from a phone", "done")
    top = card(page, "from a phone").bounding_box()["y"]
    assert 0 <= top < 844, "the form is longer than the screen"
    context.close()


def test_a_server_that_goes_away_and_comes_back(browser, tmp_path: Path) -> None:
    with gateway(tmp_path / "store") as (server, _):
        url, port = server.url, server.port
        page = browser.new_page()
        page.goto(url)
        page.get_by_text("connected").wait_for()
        draw(page, "before")
        state(page, "before", "done")
    page.get_by_text("The server does not answer").wait_for()
    draw(page, "lost")
    page.locator("#form-error").wait_for()
    with gateway(tmp_path / "store", port=port):
        page.get_by_text("connected").wait_for(timeout=20000)
        assert not page.locator("#offline").is_visible()
        page.reload()
        state(page, "before", "done")
        page.close()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing(browser, live, axe: str, scheme: str) -> None:
    server, _ = live
    context = browser.new_context(base_url=server.url, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    page = context.new_page()
    page.goto("/")
    page.get_by_text("connected").wait_for()
    draw(page, f"seen in {scheme}", steps=3)
    state(page, f"seen in {scheme}", "done")
    page.evaluate(axe)
    for view in ("list", "more", "detail"):
        if view == "more":
            page.get_by_text("More options").click()
        if view == "detail":
            card(page, f"seen in {scheme}").locator("a").first.click()
            page.locator("#detail h2").wait_for()
        broken = page.evaluate("axe.run()")["violations"]
        assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]][:3]) for rule in broken] == [], view
    context.close()


@pytest.mark.slow
def test_paint_a_digit_and_complete_it(browser, tmp_path: Path) -> None:
    """With the real method: what is hidden of a painted digit is drawn anew, and the rest stays."""
    from tests.serving.live import Server

    server = Server(tmp_path / "store", modules="runtime.lmconv,runtime.vectorize")
    page = browser.new_page()
    page.goto(server.url)
    page.get_by_role("radio", name="Complete a digit").check()
    canvas = page.get_by_role("application")
    canvas.focus()
    page.get_by_role("radio", name="Hide", exact=True).check()
    canvas.focus()
    for key in (*["ArrowUp"] * 8, " "):
        page.keyboard.press(key)
    page.get_by_role("button", name="Draw").click()
    page.locator(".card[data-state=done]").wait_for(timeout=90000)
    time.sleep(0.5)
    assert page.locator(".card img").first.get_attribute("src").startswith("blob:")
    page.close()
    server.end(15)
