"""Evidently's UI, as `bridgerec up` starts it, shows the runs of the monitor in a real browser."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError
from bridgerec.monitoring.trend import keep
from bridgerec.operations.parts import environment, evidently
from bridgerec.operations.processes import HOST, find_port, start, stop, wait_until
from browser import started

pytestmark = pytest.mark.slow


def add_run(place: Path, shift: float) -> None:
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    rng = np.random.default_rng(0)
    before = pd.DataFrame(rng.normal(size=(60, 2)), columns=["popularity", "history_length"])
    columns = Report([DataDriftPreset()]).run(
        Dataset.from_pandas(before + shift), Dataset.from_pandas(before)
    )
    numbers = {"auc": 0.5 + shift, "requests": 60, "drift": shift > 0, "click_rate": None}
    keep(place, "shop", columns, numbers)


def test_the_project_and_its_runs_are_shown_also_those_that_come_later(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    place = workspace.operations / "evidently"
    add_run(place, 0.0)
    part, port = evidently(workspace), find_port(0, "")
    url = f"http://{HOST}:{port}"
    log = tmp_path / "evidently.log"
    running = start(part.command(port), environment(workspace, None), tmp_path, log, port, url)
    try:
        wait_until("UI", running, lambda: part.well(url), part.seconds)
        add_run(place, 0.375)
        with started() as browser:
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.set_default_timeout(60_000)
            page.goto(url)
            page.get_by_text("shop", exact=True).first.click()
            page.get_by_text("classifier AUC of item vectors").wait_for()
            page.get_by_text("share of drifted columns").wait_for()
            # the axis reaches the second run's value only when both runs are drawn
            page.locator("svg").get_by_text("0.85").or_(
                page.locator("svg").get_by_text("0.9")
            ).first.wait_for()
            page.get_by_text("Reports", exact=True).first.click()
            page.get_by_text("numbers").nth(1).wait_for()
            assert page.get_by_text("columns", exact=True).count() == 2
            if folder := os.environ.get("BRIDGEREC_PICTURES"):
                page.screenshot(path=Path(folder) / "evidently-runs.png")
    finally:
        stop(running)


def test_a_damaged_workspace_is_told(tmp_path: Path) -> None:
    (tmp_path / "evidently").write_text("not a folder")
    with pytest.raises(ArtifactError, match="Move the folder away"):
        add_run(tmp_path / "evidently", 0.0)
