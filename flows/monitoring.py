"""The monitoring flow: the traffic log against the training data; drift becomes an event."""

from bridgerec.runtime import prepare_environment

prepare_environment()  # before Prefect reads it

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from bridgerec.config import Workspace

DRIFT = "bridgerec.drift"


@flow(name="monitoring")
def monitoring(workspace: str = ".") -> dict[str, Any]:
    """Compare what people asked with what the model learned from; emit an event on drift.

    Args:
        workspace: Folder with params.yaml, artifacts/ and traffic/.

    Raises:
        DataError: there is no traffic log, or too little in it.
    """
    from bridgerec.monitoring.report import monitor

    place = Workspace.open(workspace)
    out = place.reports / "monitoring"
    summary = monitor(place, out)
    text = (out / "summary.md").read_text(encoding="utf-8")
    create_markdown_artifact(text, key="monitoring", description="Live traffic against training")
    if summary["drift"]:
        get_run_logger().warning("drift: see the artifact and %s", out / "evidently.html")
        emit_event(
            DRIFT,
            resource={
                "prefect.resource.id": f"bridgerec.workspace.{place.root.name}",
                "prefect.resource.name": str(place.root),
            },
            payload={
                "workspace": str(place.root),
                "requests": summary["requests"],
                "alarms": summary["alarms"],
                "drifted_columns": summary["drifted_columns"],
                "vectors": summary["vectors"],
                "words": text.split("\n\n")[0].lstrip("# "),
            },
        )
    if summary["webhook"]:
        told = summary["webhook"]
        log = get_run_logger()
        (log.info if told["delivered"] else log.error)("%s", told["words"])
    return summary


if __name__ == "__main__":
    monitoring()
