"""What a run shows in Prefect's UI: how far it is, and what came of it."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from bridgerec.operations.pages import decision_text, leaderboard, links
from bridgerec.pipeline.experiment import Experiment
from bridgerec.pipeline.overrides import Overrides
from bridgerec.progress import read_line
from bridgerec.runtime import read_json

EVERY = 2.0  # seconds between two updates of a bar


class Bar:
    """One progress artifact.  A server that does not take it does not stop a run."""

    def __init__(self, key: str, description: str) -> None:
        self.key = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
        self.description, self.told = description, 0.0
        self.id: UUID | None = None

    def reach(self, percent: float) -> None:
        """Show it, at most every two seconds, and at the end."""
        now, done = time.monotonic(), percent >= 100
        if now - self.told < EVERY and not done:
            return
        self.told = now
        try:
            if self.id is None:
                found = create_progress_artifact(percent, self.key, self.description)
                self.id = found if isinstance(found, UUID) else None
            else:
                update_progress_artifact(self.id, percent, self.description)
        except Exception as error:
            get_run_logger().debug("the bar of %s: %r", self.key, error)


class Bars:
    """Takes a stage's lines: those of progress become bars, the others go to the log."""

    def __init__(self, stage: str, log: Callable[[str], None]) -> None:
        self.stage, self.log = stage, log
        self.bars: dict[str, Bar] = {}

    def __call__(self, line: str) -> None:
        reached = read_line(line)
        if reached is None:
            self.log(line)
            return
        if (label := reached.label) not in self.bars:
            self.bars[label] = Bar(f"progress-{self.stage}-{label}", f"{self.stage}: {label}")
        self.bars[label].reach(reached.percent)


def publish(root: Path, reports: Path) -> None:
    """Show the reports of a run as artifacts; what is not there is left out."""
    if (reports / "validation" / "summary.md").is_file():
        text = (reports / "validation" / "summary.md").read_text(encoding="utf-8")
        create_markdown_artifact(text, key="validation", description="What was found in the data")
    decision = reports / "decision.json"
    decided = read_json(decision) if decision.is_file() else {}
    if (reports / "evaluation" / "metrics.json").is_file():
        found = read_json(reports / "evaluation" / "metrics.json")
        rows = leaderboard(found, decided.get("metric", "ndcg@10"))
        create_table_artifact(rows, key="leaderboard", description="Test results, with intervals")
    if decided:
        text = decision_text(decided)
        create_markdown_artifact(text, key="decision", description="The gate's decision")
    if text := links(root, reports):
        create_markdown_artifact(text, key="reports", description="The pages to look at")


def publish_experiment(found: Experiment, overrides: Overrides, saved: bool) -> None:
    """The name, what was changed, and how to go on."""
    lines = [f"# {found.name}", "", *(f"- {line}" for line in overrides.words), ""]
    if saved:
        lines += [
            f"Kept as a DVC experiment of `{found.workspace}`; the workspace is as it was.",
            "",
            "```sh",
            "dvc exp show                 # compare it with the others",
            f"dvc exp diff {found.name}    # what differs from the last commit",
            f"dvc exp apply {found.name}   # make the workspace what it was, without computing",
            f"dvc exp branch {found.name} NAME",
            f"dvc exp remove {found.name}",
            "```",
        ]
    else:
        lines.append("Not kept, because the run failed. What its finished stages made is in DVC's "
                     "cache: the next run with the same overrides goes on from there.")  # fmt: skip
    create_markdown_artifact("\n".join(lines), key="experiment", description=found.name)
