"""Runs of the monitor in Evidently's own workspace, where its UI shows how they go on.

Evidently's server knows Evidently's metrics alone, so our numbers go in as the means of a table
with one row.
"""

from pathlib import Path
from typing import Any

from bridgerec.errors import ArtifactError
from bridgerec.monitoring.history import PICTURE
from bridgerec.runtime import disk_full, no_room

TITLES = {
    **PICTURE,
    "drift": "drift (1: there was an alarm)",
    "centroid_shift": "shift of the mean item vector",
    "drifted_predictions": "drifted checks of the predictions",
}


def keep(place: Path, name: str, columns: Any, numbers: dict[str, Any]) -> None:
    """Add a run to the project `name` of the Evidently workspace in the folder `place`.

    `columns` is the snapshot of the columns' drift; of `numbers` those of `TITLES` are kept, as
    far as the run has them.

    Raises:
        ArtifactError: the folder is damaged.
        DiskFull: it is not; there is no room.
    """
    import pandas as pd
    from evidently import Dataset, Report
    from evidently.metrics import MeanValue
    from evidently.ui.workspace import Workspace

    row = {c: [float(numbers[c])] for c in TITLES if numbers.get(c) is not None}
    try:
        workspace = Workspace.create(str(place))
        found = workspace.search_project(name)
        project = found[0] if found else _project(workspace, name)
        report = Report([MeanValue(column=c) for c in row])
        run = report.run(Dataset.from_pandas(pd.DataFrame(row)), None)
        workspace.add_run(project.id, run, name="numbers")
        workspace.add_run(project.id, columns, name="columns")
    except (OSError, ValueError, KeyError) as error:
        if no_room(error):
            raise disk_full(place, error) from error
        raise ArtifactError(
            f"{place}: Evidently's workspace cannot be written ({error}). Move the folder away; "
            "the next run begins a new one, and reports/monitoring/history.parquet has all runs."
        ) from error


def _project(workspace: Any, name: str) -> Any:
    """A new project with a panel per number."""
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import line_plot_panel

    project = workspace.create_project(name, description="What people ask, against the training")
    for column, title in TITLES.items():
        value = PanelMetric(legend=column, metric="MeanValue", metric_labels={"column": column})
        project.dashboard.add_panel(line_plot_panel(title, [value], size="half"))
    share = PanelMetric(
        legend="share", metric="DriftedColumnsCount", metric_labels={"value_type": "share"}
    )
    project.dashboard.add_panel(line_plot_panel("share of drifted columns", [share], size="half"))
    return project
