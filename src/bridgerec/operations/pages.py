"""The reports of a run as tables, words and addresses."""

from pathlib import Path
from typing import Any

from bridgerec.config import Workspace
from bridgerec.evaluation.segments import by_language
from bridgerec.operations.state import read_state
from bridgerec.registry.guards import allowed

PAGES = {
    "evaluation/index.html": "the evaluation",
    "validation/summary.html": "what was found in the data",
    "validation/data_docs/index.html": "every expectation (Great Expectations' Data Docs)",
    "decision.json": "the decision with every number",
    "monitoring/evidently.html": "the last monitoring",
}
BESIDE = ("hr@10", "mrr@10", "coverage@10")  # the decision's own metric


def leaderboard(metrics: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    """Rows per split, target and candidate of the test part, the best first: `metric` with its
    interval, its value by the items' language, and the value of some others."""
    rows = []
    for split, candidates in metrics.get("test", {}).items():
        for candidate, targets in candidates.items():
            for target, segments in targets.items():
                found = segments.get("all", {})
                if metric in found:
                    own = by_language(segments, metric)
                    rows.append((split, target, -found[metric]["value"], candidate, found, own))
    return [
        {
            "split": split,
            "target": target,
            "candidate": candidate,
            metric: round(found[metric]["value"], 4),
            "interval": f"{found[metric]['low']:.4f} to {found[metric]['high']:.4f}",
            **{name: round(cell["value"], 4) for name, cell in own.items()},
            **{m: round(found[m]["value"], 4) for m in BESIDE if m in found and m != metric},
        }
        for split, target, _, candidate, found, own in sorted(rows, key=lambda row: row[:4])
    ]


def decision_text(decision: dict[str, Any]) -> str:
    """The decision, who answers whom, the reasons and the figures behind them, as Markdown."""
    if decision.get("released"):
        title = f"# {decision['winner']} may be released"
    else:
        title = "# Nothing may be released"
    routes = decision.get("routes", {})
    lines = [title, "", *(f"- for {r} people: {c}" for r, c in routes.items())]
    lines += [f"- {reason}" for reason in decision.get("reasons", [])]
    rows = [
        f"| {route} | {name}{' ✓' * (routes.get(route) == name)} | {_figure(found.get('value'))} | "
        f"{_gap(found.get('against_baseline'))} | "
        f"{_gap(candidates.get(routes.get(route), {}).get('against', {}).get(name))} |"
        for route, candidates in decision.get("candidates", {}).items()
        for name, found in sorted(
            candidates.items(), key=lambda pair: -(pair[1].get("value") or 0.0)
        )
    ]
    if rows:
        against = f"against {decision.get('baseline')}"
        head = f"| people | candidate | {decision.get('metric')}, validation | {against} "
        head += "| the chosen one against it |"
        lines += ["", head, "| --- | --- | --- | --- | --- |", *rows]
    guarded = [
        f"| {route} | {name}{' ✓' * (routes.get(route) == name)} | {one['split']}, {one['target']} "
        f"| {one['segment']} | {one['metric']} {one['value']:.4f} | {one['high']:.4f} "
        f"| {allowed(one)} |"
        for route, candidates in decision.get("candidates", {}).items()
        for name, found in candidates.items()
        for one in found.get("guarded", ())
    ]
    if guarded:
        head = "| people | candidate | case | guard of | value | at most | least allowed |"
        lines += ["", head, "| --- | --- | --- | --- | --- | --- | --- |", *guarded]
    return "\n".join(lines)


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "–"


def _gap(gap: dict[str, float] | None) -> str:
    if gap is None:
        return "–"
    return f"{gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"


def address(root: Path, path: Path) -> str:
    """Where a file under `reports/` is to be seen: on the server of `bridgerec up` if it runs."""
    workspace = Workspace.open(root)
    state = read_state(workspace)
    if state.alive("reports"):
        inside = path.resolve().relative_to(workspace.reports)
        return f"{state.parts['reports'].url}/{inside.as_posix()}"
    return path.resolve().as_uri()


def links(root: Path, reports: Path) -> str:
    """The pages of a run as a list in Markdown; empty where there are none."""
    found = [
        f"- [{title}]({address(root, reports / page)})"
        for page, title in PAGES.items()
        if (reports / page).is_file()
    ]
    return "\n".join(found)
