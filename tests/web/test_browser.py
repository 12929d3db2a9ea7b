"""`milepost up` and its dashboard in a real browser.

SCREENSHOTS=docs/images keeps a picture of each page, in light and in dark.
"""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from milepost import open_database, snapshots
from tests.chaos.processes import MILEPOST, ROOT, until
from tests.chaos.records import Served
from tests.servers import find_chromium
from tests.web.history import fill

PAGES = 40
SIZE = 50
SOON = 60_000  # ms

expect.set_options(timeout=SOON)


class Slow(Served):
    """A source whose pages take a moment."""

    async def answer(self, request: web.Request) -> web.Response:
        if "missing" in request.path:
            return web.json_response({"error": "there is no such table"}, status=404)
        page = int(request.query.get("cursor", "0"))
        await asyncio.sleep(0.1)
        following = str(page + 1) if page + 1 < PAGES else None
        ids = range(page * SIZE, (page + 1) * SIZE)
        return web.json_response({
            "data": [{"id": each, "name": f"Order {each}", "paid": each % 2 == 0} for each in ids],
            "next_cursor": following, "total": PAGES * SIZE,
        })  # fmt: skip


@dataclass
class Up:
    """`milepost up` in a folder of its own, where it finds nothing."""

    folder: Path
    url: str = ""
    process: subprocess.Popen[str] | None = field(default=None)

    def start(self, *more: str, **env: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*MILEPOST, "up", "--port", "0", *more],
                cwd=self.folder, env={**clean(), **env}, stdout=subprocess.PIPE, stderr=log,
                text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        said = re.search(r"http://[\d.:]+", line)
        assert said, line + (self.folder / "log").read_text()
        self.url = said[0]

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.close()
        return code

    def close(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()

    def run(self, *arguments: str) -> str:
        return subprocess.run(
            [*MILEPOST, *arguments], cwd=self.folder, env=clean(), capture_output=True, text=True,
            check=True, timeout=60,
        ).stdout  # fmt: skip


def clean() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MILEPOST", "DATABASE_URL"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path)
    yield started
    if started.process is not None:
        started.process.kill()
        started.process.wait(30)
        started.close()


@pytest.fixture
def source() -> Iterator[str]:
    served = Slow()
    yield served.start()
    served.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    assert chromium, "no Chromium: make test installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(SOON)
    page = context.new_page()
    wrong: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # That a server is gone, or knows no such token, is what a test may want to see.
        passed = "ERR_|401|Applying inline style" if "SCREENSHOTS" in os.environ else "ERR_|401"
        if message.type in ("error", "warning") and not re.search(passed, message.text):
            wrong.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert wrong == []


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder is None:
        return
    page.wait_for_load_state("load")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=ROOT / folder / f"{name}-{scheme}.png")
    page.emulate_media(color_scheme="light")


def submit(page: Page, up: Up) -> int:
    """Submit as another program does; no process starts for it."""
    order = {"kind": "milepost-check-succeed", "args": {}}
    reply = page.request.post(f"{up.url}/api/v1/jobs", data=order)
    assert reply.status == 201
    return int(reply.json()["id"])


def count_rows(into: Path) -> int:
    database = open_database(str(into))
    try:
        with database.read() as conn:
            return sum(table.rows for table in snapshots.list_tables(conn))
    finally:
        database.close()


def test_a_first_download_is_started_watched_cancelled_and_retried(
    up: Up, page: Page, source: str, tmp_path: Path
) -> None:
    up.start()
    page.goto(up.url)
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    picture(page, "first")

    page.get_by_label("From").fill(f"{source}/orders")
    page.get_by_label("Into").fill("orders.db")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="download-records")).to_be_visible()
    expect(page.locator("#alive")).to_have_text("live")
    # The bar moves, and the page is not loaded again for it.
    page.evaluate("window.stays = true")
    bar = page.get_by_role("progressbar", name="Progress", exact=True)
    expect(bar).to_be_visible()
    seen: list[float] = []

    def moves() -> bool:
        seen.append(float(bar.get_attribute("value") or 0))
        return len({each for each in seen if each}) > 3

    until(moves, "the bar to move")
    assert page.evaluate("window.stays") is True
    picture(page, "job")

    page.get_by_placeholder("why").fill("enough")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".state.cancelled").first).to_be_visible()
    expect(page.get_by_text("enough")).to_be_visible()
    kept = count_rows(tmp_path / "orders.db")
    assert 0 < kept < PAGES * SIZE

    page.get_by_role("button", name="Retry from its checkpoint").click()
    expect(page.locator("h1 .state.completed")).to_be_visible()
    assert count_rows(tmp_path / "orders.db") == PAGES * SIZE
    expect(page.get_by_role("heading", name="Result")).to_be_visible()

    # What a user sees of one that cannot succeed.
    page.goto(up.url)
    page.get_by_label("From").fill(f"{source}/missing")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("h1 .state.failed")).to_be_visible()
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    picture(page, "failed")
    page.get_by_role("link", name="Failures").click()
    expect(page.locator("td.error")).to_contain_text("404")
    picture(page, "failures")

    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(2)
    picture(page, "jobs")
    page.get_by_label("failed").check()
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Retry all that fit").click()
    expect(page.get_by_role("heading", name="Retry 1 jobs?")).to_be_visible()
    page.get_by_role("link", name="No").click()

    for name in ("Overview", "Workers", "Queues", "Snapshots"):
        page.get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
        if name in ("Workers", "Snapshots"):
            picture(page, name.lower())
    assert up.stop() == 0
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log


def test_the_dashboard_fits_a_narrow_window_and_works_with_the_keyboard(
    up: Up, page: Page, source: str
) -> None:
    up.start()
    up.run("snapshots", "create", "shop", f"{source}/orders", "--into", "shop.db")
    up.run("snapshots", "sync", "shop", "--no-wait")
    up.run("queues", "pause", "reports")
    page.set_viewport_size({"width": 360, "height": 720})
    page.goto(f"{up.url}/jobs")
    job = page.get_by_role("link", name="1", exact=True)
    expect(page.locator(".state.completed")).to_be_visible()
    picture(page, "narrow")
    for path in ("", "jobs", "jobs/1", "failures", "queues", "workers", "snapshots", "login"):
        page.goto(f"{up.url}/{path}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, (path, wide)

    page.set_viewport_size({"width": 1200, "height": 800})
    page.goto(f"{up.url}/snapshots/shop")
    expect(page.locator("table.rows tbody tr")).to_have_count(50)
    picture(page, "snapshot")

    page.goto(f"{up.url}/jobs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    job.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="download-records")).to_be_visible()


def test_what_was_written_into_a_form_stays_while_the_page_is_kept_up_to_date(
    up: Up, page: Page
) -> None:
    up.start()
    page.goto(up.url)
    page.get_by_label("From").fill("orders.csv")
    page.get_by_role("link", name="Jobs", exact=True).focus()
    submit(page, up)
    expect(page.locator(".state.completed")).to_be_visible()
    expect(page.get_by_label("From")).to_have_value("orders.csv")
    page.goto(f"{up.url}/jobs")
    page.get_by_label("Search").fill("check")
    page.get_by_role("link", name="Jobs", exact=True).focus()
    submit(page, up)
    expect(page.locator(".state.completed")).to_have_count(2)
    expect(page.get_by_label("Search")).to_have_value("check")


def test_who_has_a_token_logs_in_and_a_viewer_steers_nothing(up: Up, page: Page) -> None:
    token = up.run("tokens", "create", "ann", "--role", "viewer").splitlines()[-1]
    up.start()
    page.goto(f"{up.url}/jobs")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    picture(page, "login")
    page.get_by_label("Token").fill("milepost_wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("opens nothing")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_label("From")).to_have_count(0)
    page.get_by_role("button", name="Log out ann").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_page_says_when_its_server_is_gone_and_goes_on_when_it_is_back(
    up: Up, page: Page
) -> None:
    up.start()
    page.goto(f"{up.url}/jobs")
    expect(page.locator("#alive")).to_have_text("live")
    port = up.url.rpartition(":")[2]
    assert up.stop() == 0
    expect(page.locator("#alive")).to_have_text("waiting for the server")
    up.start("--port", port)
    expect(page.locator("#alive")).to_have_text("live")
    submit(page, up)
    expect(page.locator(".state.completed")).to_be_visible()


def test_other_machines_are_not_served_without_a_token(up: Up) -> None:
    done = subprocess.run(
        [*MILEPOST, "up", "--host", "0.0.0.0", "--port", "0"],
        cwd=up.folder, env=clean(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "others reach 0.0.0.0, and there is no token yet" in done.stderr
    up.run("tokens", "create", "ann")
    up.start("--host", "0.0.0.0")


def test_one_part_runs_alone_and_shows_the_course_of_an_hour(up: Up, page: Page) -> None:
    fill(f"sqlite:///{up.folder}/milepost.db")
    up.start(SERVICE_TYPE="web")
    page.goto(up.url)
    for chart in ("Ended", "Longest wait before a start", "Waiting", "Oldest wait of these"):
        shown = page.get_by_role("img", name=re.compile(f"^{chart}, at most [1-9]"))
        assert shown.locator("rect").count() > 50, chart
    picture(page, "overview")
    page.get_by_role("link", name="Queues").click()
    expect(page.get_by_role("button", name="Resume")).to_have_count(1)
    expect(page.get_by_role("img", name=re.compile("Waiting in the last hour"))).to_have_count(2)
    picture(page, "queues")
    page.goto(f"{up.url}/workers")
    expect(page.get_by_text("No worker runs")).to_be_visible()
    worker = subprocess.Popen(
        [*MILEPOST, "up"], cwd=up.folder, env={**clean(), "SERVICE_TYPE": "worker"},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        page.goto(f"{up.url}/jobs/{submit(page, up)}")
        expect(page.locator("h1 .state.completed")).to_be_visible()
    finally:
        worker.terminate()
        assert worker.wait(30) == 0
