"""A page in headless Chromium, which Python asks for what its scripts say."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any

from convsmith.deploy.web.file_server import GIVEN, SAID, serve_files
from convsmith.errors import ConvsmithError

CHROMIUM_VARIABLE = "CONVSMITH_CHROMIUM"
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_OPTIONS = (  # it asks no other host
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_ASK = """async (about) => {{
  const given = new Uint8Array(await (await fetch("{given}")).arrayBuffer());
  await fetch("{said}", {{ method: "POST", body: await ({function})(given, about) }});
}}"""
_Call = tuple[str, bytes, Any, Future[bytes]]  # a function, its arguments, and what it returns
_LONGEST_END = 10.0  # seconds that closing the browser may take


class ChromiumPage:
    """The page `index.html` of some files, served on this machine; safe to use from several threads.

    A thread of its own holds the browser: playwright does not run beside an event loop, as notebooks have one.

    Attributes:
        version: of the browser.

    Args:
        files: content by name.

    Raises:
        ConvsmithError: there is no playwright, no Chromium, or it does not start.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        from playwright import sync_api

        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        started: Future[str] = Future()
        thread = Thread(target=_browse, args=(sync_api.sync_playwright, files, self._calls, started), daemon=True)
        thread.start()
        self.close = weakref.finalize(self, _end, self._calls, thread)
        """End the browser, which also happens when the page is let go of."""
        self.version = started.result()

    def ask(self, function: str, given: bytes, about: Any = None) -> bytes:
        """The bytes that a JavaScript function `(Uint8Array, about) => bytes` returns, which may be asynchronous.

        Raises:
            ConvsmithError: it fails.
        """
        said: Future[bytes] = Future()
        self._calls.put((function, given, about, said))
        return said.result()


def _browse(
    playwright: Callable[[], Any], files: Mapping[str, bytes], calls: SimpleQueue[_Call | None], started: Future[str]
) -> None:
    """Hold the browser, and answer calls until there is none any more."""
    try:
        with playwright() as driver, serve_files(files) as server:
            browser = driver.chromium.launch(executable_path=_find_chromium(), args=_OPTIONS)
            tab = browser.new_page()
            tab.goto(server.address)
            started.set_result(browser.version)
            while (call := calls.get()) is not None:
                function, given, about, said = call
                server.files[GIVEN] = given
                try:
                    tab.evaluate(_ASK.format(given=GIVEN, said=SAID, function=function), about)
                    said.set_result(server.said)
                except Exception as error:
                    said.set_exception(_refusal(error))
            browser.close()
    except Exception as error:
        if started.done():  # the browser was to end
            return
        fix = f"Install it, such as by `apt-get install chromium`, or name the program by {CHROMIUM_VARIABLE}."
        started.set_exception(ConvsmithError("Chromium does not start", _first_line(error), fix))


def _find_chromium() -> str | None:
    """The program; None: the one that `playwright install chromium` has put somewhere."""
    named = os.environ.get(CHROMIUM_VARIABLE)
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


def _end(calls: SimpleQueue[_Call | None], thread: Thread) -> None:
    calls.put(None)
    thread.join(_LONGEST_END)


def _refusal(error: Exception) -> ConvsmithError:
    return ConvsmithError("the page gives no answer in Chromium", _first_line(error))


def _first_line(error: Exception) -> str:
    """The error of the page or of playwright, without the calls that led to it."""
    text = str(error).strip() or type(error).__name__
    return text.removeprefix("Page.evaluate: ").removeprefix("Error: ").split("\n")[0]
