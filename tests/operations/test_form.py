"""A training run started from Prefect's form in a real browser, and what the UI shows of it.

With BRIDGEREC_PICTURES=FOLDER the pages are written there as PNG.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridgerec.config import Workspace
from bridgerec.operations.control import down, up
from bridgerec.operations.deploy import write_flows
from browser import started
from helpers import REPOSITORY, git

pytestmark = pytest.mark.long
ANY = {"prefect": 0, "service": 0, "evidently": 0, "reports": 0}
PATIENCE = 240.0  # seconds


@pytest.fixture
def running(kept_in_git: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A workspace whose Prefect is up, and the server's address."""
    root = kept_in_git
    shutil.copy(REPOSITORY / "prefect.yaml", root)
    write_flows(root)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "the flows")
    monkeypatch.setattr("bridgerec.operations.parts.has_evidently", lambda: False)
    place = Workspace.open(root)
    try:
        yield root, up(place, ANY).parts["prefect"].url
    finally:
        down(place)


@pytest.fixture
def page() -> Iterator[Any]:
    with started() as browser:
        context = browser.new_context(locale="en-GB", viewport={"width": 1100, "height": 1000})
        found = context.new_page()
        found.set_default_timeout(60_000)
        yield found
        context.close()


def picture(page: Any, name: str) -> None:
    if folder := os.environ.get("BRIDGEREC_PICTURES"):
        page.wait_for_timeout(2000)
        page.screenshot(path=Path(folder) / f"{name}.png")


def choose(page: Any, field: str, value: str) -> None:
    """Pick a value from a list of the form."""
    box = page.locator(".schema-form-property").filter(has_text=f"{field} (Optional)")
    button = box.locator(".p-select-button__control")
    button.wait_for()
    option = page.locator(".p-select-option").get_by_text(value, exact=True)
    for _ in range(20):  # the list may close again while the page is still loading
        button.press("ArrowDown")
        page.wait_for_timeout(500)
        if option.count():
            break
    option.click()
    page.keyboard.press("Escape")
    box.get_by_text(value, exact=True).wait_for()


def finished_run(url: str) -> dict[str, Any]:
    """The only flow run, when it has ended."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        runs = httpx.post(f"{url}/api/flow_runs/filter", json={}, timeout=60).json()
        if runs and runs[0]["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED"):
            return dict(runs[0])
        time.sleep(1)
    raise AssertionError(f"the run has not ended within {PATIENCE} s: {runs}")


def test_a_run_is_started_from_the_form_and_its_artifacts_can_be_looked_at(
    running: tuple[Path, str], page: Any
) -> None:
    root, url = running
    start_run(page, url, "popularity")
    run = finished_run(url)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert run["parameters"]["candidates"] == ["popularity"]
    look_at(page, url, run, "popularity")
    assert run["name"] in git(root, "for-each-ref", "--format=%(refname)", "refs/exps")


def start_run(page: Any, url: str, wanted: str) -> None:
    """Click: the deployments, this one, its form with one override."""
    page.goto(f"{url}/deployments")
    links = page.locator("a[href*='/deployments/deployment/']")
    links.filter(has_text=re.compile(r"^\s*training\s*$")).first.click()  # not retraining
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    page.get_by_text("candidates (Optional)").wait_for()
    choose(page, "candidates", wanted)
    picture(page, "prefect-form")
    page.get_by_role("heading", name="Parameters").or_(page.get_by_text("Parameters")).first.click()
    for _ in range(20):  # the first click may only close the list
        page.get_by_role("button", name="Submit").click()
        page.wait_for_timeout(3000)
        if not page.url.endswith("/run"):
            break
    page.get_by_text("Deployment Version").first.wait_for()


def look_at(page: Any, url: str, run: dict[str, Any], wanted: str) -> None:
    """The run's page, and from there each artifact; from the last one a report."""
    page.goto(f"{url}/runs/flow-run/{run['id']}")
    page.get_by_text("Completed").first.wait_for()
    picture(page, "prefect-run")
    seen = {
        "leaderboard": wanted,
        "experiment": f"dvc exp apply {run['name']}",
        "reports": "the evaluation",
    }
    for key, shown in seen.items():
        page.goto(f"{url}/runs/flow-run/{run['id']}?tab=Artifacts")
        page.get_by_text("Artifacts", exact=True).first.click()
        page.locator("a[href*='/artifacts/artifact/']", has_text=key).first.click()
        page.get_by_text(shown).first.wait_for()
        picture(page, f"prefect-{key}")
    address = page.get_by_role("link", name="the evaluation", exact=True).get_attribute("href")
    assert f"/experiments/{run['name']}/" in address
    page.goto(address)  # a click would open another tab
    page.get_by_role("heading", level=1).first.wait_for()
