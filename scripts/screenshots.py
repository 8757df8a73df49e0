"""Reads a running playground with a browser, as its tests do, and gives the pictures of it in docs/screens/.

``make screens`` needs Chromium, and a font with Chinese characters for the pieces of xiangqi.
"""

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect

from service.settings import Settings
from tests.browser.desk import Desk, chromium
from tests.serving import KASPAROV_TOPALOV, Process

ROOT = Path(__file__).parent.parent
SCREENS = ROOT / "docs" / "screens"
HEADERS = '[White "Kasparov"]\n[Black "Topalov"]\n[WhiteElo "2812"]\n[BlackElo "2700"]\n\n'
OPENING = ["h2e2", "h9g7", "h0g2", "i9h9", "i0h0", "b9c7", "g3g4"]


def main() -> None:
    """Take all of them."""
    SCREENS.mkdir(exist_ok=True)
    with Process(Settings(artifacts=ROOT / "artifacts", store="memory")) as process, chromium() as browser:
        _light(browser, process.url)
        _dark(browser, process.url)
        _phone(browser, process.url)


def _light(browser: Browser, url: str) -> None:
    desk = Desk(browser, url).ready()
    # The sacrifice that the game is known for.
    _show_game(desk, 47)
    _save(desk, "playground.png", whole=True)


def _dark(browser: Browser, url: str) -> None:
    desk = Desk(browser, url, color_scheme="dark").ready()
    desk.choose("xiangqi/1")
    for count, move in enumerate(OPENING, start=1):
        desk.type(move)
        expect(desk.page.locator("#move-list button")).to_have_count(count)
    _save(desk, "playground-dark.png")


def _phone(browser: Browser, url: str) -> None:
    desk = Desk(browser, url, viewport={"width": 390, "height": 844}, has_touch=True).ready()
    _show_game(desk, 60)
    _save(desk, "playground-phone.png")


def _show_game(desk: Desk, ply: int) -> None:
    desk.paste(HEADERS + " ".join(KASPAROV_TOPALOV))
    desk.has_moves(KASPAROV_TOPALOV)
    desk.page.locator("#memory").scroll_into_view_if_needed()
    expect(desk.page.locator(".gate-name")).to_have_count(4)
    desk.page.locator("#move-list button").nth(ply - 1).click()
    desk.page.evaluate("scrollTo(0, 0)")
    desk.page.mouse.move(0, 0)


def _save(desk: Desk, name: str, *, whole: bool = False) -> None:
    """Save what is seen in 256 colours, which is all that it has, or nearly."""
    desk.page.evaluate("document.activeElement.blur()")
    # The piece that moved last has come to rest by then.
    desk.page.wait_for_timeout(500)
    picture = Image.open(BytesIO(desk.page.screenshot(full_page=whole))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(SCREENS / name, optimize=True)
    desk.leave()


if __name__ == "__main__":
    main()
