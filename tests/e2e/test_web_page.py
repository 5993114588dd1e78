"""The web page in a real browser: Debian's Chromium, driven by Playwright."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support import CHROMIUM_FLAGS, StackUnderTest, chromium
from windtunnel.airflow_api.client import AirflowClient

# The first page of a fresh web server, in milliseconds.
TIMEOUT = 30_000


@pytest.fixture
def browser() -> Iterator[Browser]:
    program = chromium()
    assert program, "there is no Chromium: install it with `apt-get install chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def test_a_person_logs_in_and_finds_the_traceback(
    airflow_stack: StackUnderTest, airflow: AirflowClient, browser: Browser
) -> None:
    conf = {"max_len": 3, "interval": 0.1, "fails_at": 2}
    run = airflow.wait(airflow.trigger("demo-dag", conf), timeout=90)
    user, password = airflow_stack.stack.login()
    page = browser.new_page(base_url=airflow.address, viewport={"width": 1400, "height": 900})
    page.set_default_timeout(TIMEOUT)
    try:
        page.goto("/")
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/", wait_until="domcontentloaded")

        page.goto(f"/dags/{run.dag_id}/runs/{run.dag_run_id}/tasks/demo-task")

        log = page.get_by_test_id("virtualized-list")
        expect(log).to_contain_text("DemoFailure: failed at step 2 of 3", timeout=TIMEOUT)
        expect(log).to_contain_text("Traceback (most recent call last):")
        expect(log).to_contain_text("step 1 of 3")
    finally:
        airflow_stack.evidence.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=airflow_stack.evidence / "failed-demo-task.png")
