"""A person at the playground: a page of a real browser, and what it complains of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Moves are awaited for so long on a machine that is busy with other things.
PATIENCE = 15_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give the browser of the system."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


class Desk:
    """One page, opened at a service."""

    def __init__(self, browser: Browser, url: str, address: str = "/", **options: Any) -> None:
        """Open the page in a context of its own; ``options`` are the browser's."""
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.context.set_default_timeout(PATIENCE)
        self.url, self.session = url, ""
        self.complaints: list[str] = []
        self.page = self.sit_down(address)

    def sit_down(self, address: str = "/") -> Page:
        """Open one more tab."""
        page = self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)
        page.goto(self.url + address)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        # The browser says so of every answer that is an error, also of those that the page expects.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _note(self, request: Request) -> None:
        parts = request.url.removeprefix(self.url).split("/")
        if parts[1] == "sessions" and len(parts) > 3 and request.method == "POST":
            self.session = parts[2]

    # What a person does

    def ready(self) -> "Desk":
        """Wait until something is expected."""
        self.page.locator("#candidates li").first.wait_for()
        return self

    def type(self, moves: str) -> None:
        """Type moves and play them."""
        self.page.fill("#move", moves)
        self.page.press("#move", "Enter")

    def paste(self, text: str) -> None:
        """Paste a game."""
        if not self.page.locator("#paste-text").is_visible():
            self.page.click("#paste summary")
        self.page.fill("#paste-text", text)
        self.page.click("#paste-form button")

    def square(self, name: str) -> tuple[float, float]:
        """Give where the middle of a square of the chess board is on the screen."""
        box = self.page.locator(f"rect[data-square={name}]").bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def click_move(self, move: str) -> None:
        """Click where a piece stands and where it goes."""
        held = self.page.locator(".picked-up").first
        # While a piece still moves, the board takes no clicks.
        for _ in range(50):
            self.page.mouse.click(*self.square(move[:2]))
            if held.is_visible():
                break
            self.page.wait_for_timeout(100)
        self.page.mouse.click(*self.square(move[2:4]))

    def choose(self, model: str) -> None:
        """Choose a model and wait for its game."""
        self.page.select_option("#model", model)
        expect(self.page.locator("#candidates:not([inert])")).to_be_attached()

    # What a person sees

    def moves(self) -> list[str]:
        """Give the moves as they are written."""
        return self.page.locator("#move-list button").all_inner_texts()

    def candidates(self) -> list[str]:
        """Give the names of what is expected."""
        return self.page.locator("#candidates li:visible .name").all_inner_texts()

    def shares(self) -> list[str]:
        """Give the probabilities of what is expected."""
        return self.page.locator("#candidates li:visible .share").all_inner_texts()

    def has_moves(self, moves: list[str]) -> None:
        """Wait until these are the moves."""
        expect(self.page.locator("#move-list button")).to_have_text(moves)

    def stands(self, placement: str) -> None:
        """Wait until the pieces of the chess board have come to rest so, as the first part of FEN says."""
        self.page.wait_for_function(
            """placement => {
              const board = Array(64).fill('.')
              for (const {dataset: {square, piece: [side, kind]}} of document.querySelectorAll('.pieces [data-piece]'))
                board[8 * (8 - square[1]) + 'abcdefgh'.indexOf(square[0])] = side === 'w' ? kind.toUpperCase() : kind
              return board.join('').match(/.{8}/g).join('/') === placement
            }""",
            arg=placement,
        )

    def leave(self) -> None:
        """Close the page."""
        self.context.close()
