"""Releases as tables on the screen."""

from typing import Any

from rich.console import Console
from rich.table import Table

from bridgerec.registry.compare import results
from bridgerec.registry.store import Release


def cell(found: dict[str, float] | None) -> str:
    """A value with its interval."""
    if found is None:
        return "–"
    return f"{found['value']:.4f} [dim]{found['low']:.4f}–{found['high']:.4f}[/]"


def show_release(release: Release) -> None:
    """Who answers, why, how well on test, and what people overrode."""
    console, dossier, verdict = Console(), release.dossier, release.verdict
    decision = release.read("decision")
    console.print(f"[bold]{release.id}[/], kept {release.read('record')['kept']}")
    console.print(f"data {dossier['data_hash']}", highlight=False)
    for route, name in decision["routes"].items():
        console.print(f"  {route.replace('_', '-')} people: [bold]{name}[/]")
    for reason in (*decision["reasons"], *verdict["reasons"]):
        console.print(f"  · {reason}", markup=False)
    allowed = "allowed" if verdict["allowed"] else "refused"
    console.print(f"The gate [bold]{allowed}[/] it.")
    for override in dossier["overrides"]:
        console.print(f"  ! {override['time']} overridden: {override['reason']}", markup=False)
    table = Table("split", "target", "metric", "test", title="Results", title_justify="left")
    for (split, target, metric), found in sorted(results(dossier).items()):
        table.add_row(split, target, metric, cell(found))
    console.print(table)
    console.print(f"The Bento: {release.bento}", soft_wrap=True)


def show_comparison(found: dict[str, Any]) -> None:
    """What differs between two releases."""
    console, names = Console(), found["releases"]
    table = Table("route", *names, title="Who answers", title_justify="left")
    for route, pair in found["routes"].items():
        table.add_row(route, *map(str, pair))
    console.print(table)
    table = Table("split", "target", "metric", *names, title="Test results", title_justify="left")
    for row in found["metrics"]:
        mark = "" if row["same_people"] else " *"
        table.add_row(row["split"] + mark, row["target"], row["metric"], cell(row["one"]),
                      cell(row["other"]))  # fmt: skip
    console.print(table)
    if not all(row["same_people"] for row in found["metrics"]):
        console.print("* other people were asked: these two numbers cannot be compared.")
    for title in ("params", "versions"):
        if found[title]:
            table = Table("", *names, title=title, title_justify="left")
            for key, pair in found[title].items():
                table.add_row(key, *map(str, pair))
            console.print(table)
        else:
            console.print(f"{title}: the same")
    data = found["data"]
    if data["same"]:
        console.print(f"data: the same ({data['hash'][0]})", highlight=False)
        return
    table = Table("", *names, title="data", title_justify="left")
    for key in ("hash", "items", "people"):
        table.add_row(key, *map(str, data[key]))
    console.print(table)
    console.print(f"{data['new_items']:,} items came, {data['vanished_items']:,} went")
