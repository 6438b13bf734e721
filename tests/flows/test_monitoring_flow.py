"""The monitoring flow: drift becomes an event, too little traffic a clear failure."""

from pathlib import Path
from typing import Any

import pytest

from bridgerec.errors import DataError
from bridgerec.runtime import write_json

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.mark.parametrize("drift", [True, False])
def test_an_event_exactly_on_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drift: bool
) -> None:
    import flows.monitoring as module

    import bridgerec.monitoring.report as report

    told = {"delivered": False, "words": "the webhook at example.org was NOT told"}
    summary = {"drift": drift, "requests": 1, "drifted_columns": ["domain"], "vectors": None}
    summary |= {"alarms": ["columns"], "webhook": told}

    def found(workspace: Any, out: Path) -> dict[str, Any]:
        write_json(out / "summary.json", summary)
        (out / "summary.md").write_text("# words")
        return summary

    events: list[dict[str, Any]] = []
    monkeypatch.setattr(report, "monitor", found)
    monkeypatch.setattr(module, "emit_event", lambda name, **more: events.append({name: more}))
    assert module.monitoring(str(tmp_path)) == summary
    if drift:
        assert events[0]["bridgerec.drift"]["payload"]["alarms"] == ["columns"]
        assert events[0]["bridgerec.drift"]["payload"]["words"] == "words"
    assert [list(e) for e in events] == ([["bridgerec.drift"]] if drift else [])


def test_no_traffic_fails_with_the_remedy(small_workspace: Any) -> None:
    from flows.monitoring import monitoring

    with pytest.raises(DataError, match="no traffic log"):
        monitoring(str(small_workspace.root))
