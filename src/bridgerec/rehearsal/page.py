"""The story as one self-contained page, in the look of the evaluation page."""

import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from bridgerec.rehearsal.curves import curve, span, timeline
from bridgerec.rehearsal.quality import Mean
from bridgerec.rehearsal.story import Story
from bridgerec.runtime import atomic_file

say = html.escape


def write_page(path: Path, story: Story) -> None:
    """Write the page of what has happened so far."""
    look = (files("bridgerec.templates") / "evaluation.html").read_text(encoding="utf-8")
    style = look.split("<style>", 1)[1].split("</style>", 1)[0]
    body = [
        "<h1>A rehearsal of the closed loop</h1>",
        '<p class="soft">Simulated people with known tastes, real servers, real HTTP. NDCG here is '
        "that of the true preferences, which only the simulator knows.</p>",
        _section("In words", _list(headline(story))),
        _quality(story),
        _section("What happened when", timeline(story.acts) + _acts(story)),
        _kills(story),
        _requests(story),
        _decisions(story),
    ]
    with atomic_file(path) as temporary:
        temporary.write_text(
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>BridgeRec · rehearsal</title>\n<style>{style}td {{ white-space: normal; "
            "vertical-align: top; } td:first-child { white-space: nowrap; }\n"
            "table.words th:last-child, table.words td:last-child { text-align: left; }</style>\n"
            f"<main>\n{''.join(part for part in body if part)}\n</main>\n</html>\n",
            encoding="utf-8",
        )


def headline(story: Story) -> list[str]:
    """What matters most, in plain sentences."""
    lines = [f"<b>The rehearsal stopped early</b>: {say(story.failed)}"] if story.failed else []
    if story.sent:
        fine = "good" if story.failures == 0 else "soft" if story.kills else "bad"
        lines.append(
            f'<b class="{fine}">{story.failures} of {story.sent:,} requests failed</b>, the change '
            "of the model under load included."
        )
    if story.kills:
        lines.append(_spared(story))
    drift = next((w for w in story.watches if w.drift and w.day >= story.plan.shift_day), None)
    if drift is not None:
        late = drift.day - story.plan.shift_day + 1
        lines.append(f"Drift was found {late} days after the shift ({', '.join(drift.alarms)}).")
    if story.retraining is not None:
        one = story.retraining
        lines.append(
            f"The event started {one.by_event} retraining{'s' * (one.by_event != 1)}, which took "
            f"{span(one.seconds)}: {say(one.outcome)}."
        )
    if "ndcg" in story.gain:
        lines.append(
            f"On the days after it, maintained minus frozen: NDCG@10 {_gap(story.gain['ndcg'])}, "
            f"expected clicks per list {_gap(story.gain['clicks'])}."
        )
    if story.refusal is not None:
        what = "refused" if story.refusal.refused else "NOT refused"
        lines.append(f"The candidate that learned from shuffled labels was {what}.")
    return lines


def _spared(story: Story) -> str:
    """What the kills did not do."""
    whole = story.given_up == story.lost == story.stray == 0
    return (
        f"{len(story.kills)} of {len(story.faults)} planned processes were killed with kill -9, "
        f"and {sum(kill.away is not None for kill in story.kills)} came back. Tried again, "
        f'<b class="{"good" if whole else "bad"}">{story.given_up} requests remained without an '
        f"answer; {story.lost} of {story.accepted:,} accepted events were lost</b>; {story.stray} "
        "tries failed while nothing was away."
    )


def _gap(found: Mean) -> str:
    kind = "good" if found.low > 0 else "bad" if found.high < 0 else "soft"
    return (f'<span class="{kind}">{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]</span> '
            f"({found.people} people)")  # fmt: skip


def _quality(story: Story) -> str:
    if not story.days:
        return ""
    marks = [(story.plan.shift_day - 0.5, "the shift")]
    if story.swap is not None:
        marks.append((story.plan.swap_day - 0.5, "the new model"))
    rows = [
        (
            str(d["day"] + 1),
            str(d["visits"]),
            *(f"{d[n]['value']:.4f}" for n in ("maintained", "frozen")),
            *(f"{d[n]['value']:.3f}" for n in ("maintained_clicks", "frozen_clicks")),
            f"{d['clicks'] / d['visits']:.3f}",
        )
        for d in story.days
    ]
    table = _table(
        ("day", "visits", "NDCG@10 maintained", "NDCG@10 frozen", "expected clicks, maintained",
         "expected clicks, frozen", "clicks per list"),
        rows,
    )  # fmt: skip
    return _section(
        "The frozen model beside the maintained one",
        '<p class="soft">NDCG@10 of the true preferences; the same people with the same histories '
        "at the same moments. Bands: 95 % bootstrap intervals over people. Until the new model "
        "comes both are the same release.</p>"
        + curve(story.days, marks, "NDCG of both models per day")
        + f"<details><summary>Every day in numbers</summary>{table}</details>",
    )


def _acts(story: Story) -> str:
    rows = [
        (say(a.name), span(a.began), span(a.seconds), "" if a.day is None else str(a.day + 1),
         say(a.words))
        for a in story.acts
    ]  # fmt: skip
    return _table(("act", "began", "took", "day", "what"), rows, kind="words")


def _kills(story: Story) -> str:
    if not story.faults:
        return ""
    rows = [
        (span(k.at), say(k.process), say(k.act),
         "not back" if k.away is None else f"{k.away:.1f} s", str(k.failed))
        for k in story.kills
    ]  # fmt: skip
    table = _table(("at", "killed", "during", "away for", "failed tries meanwhile"), rows)
    return _section(
        "What was killed",
        '<p class="soft">kill -9, at moments that were drawn from a seed. Away: until another one '
        "answers; a stage, until the run that was started again computes it. Failed tries are "
        "those that were under way between the two.</p>"
        + table
        + _list(f"Started again: {say(line)}" for line in story.again),
    )


def _requests(story: Story) -> str:
    parts = (
        ("the days", story.requests),
        ("during the retraining", story.swap),
        ("during the bad candidate", story.refusal_load),
    )
    rows = [
        (name, f"{p['requests']:,}", str(p["failures"]), str(p["fallbacks"]),
         _counts(p["by_status"]), _counts(p["by_release"]),
         f"{p['p50_milliseconds']:g}", f"{p['p99_milliseconds']:g}")
        for name, p in parts
        if p
    ]  # fmt: skip
    if not rows:
        return ""
    broken = [line for _, p in parts if p for line in p["first_failures"]]
    return _section(
        "Requests",
        '<p class="soft">Every response was counted; a failure is no answer, or any other status '
        "than 200. A fallback is an answer by the baseline, as the model was late or failed.</p>"
        + _table(
            ("when", "requests", "failures", "fallbacks", "by status", "lists by release",
             "ms, median", "ms, 99 %"),
            rows,
        )
        + _list(map(say, broken)),
    )  # fmt: skip


def _decisions(story: Story) -> str:
    found = []
    if story.retraining is not None:
        found.append("<h2>The new model</h2>" + _list(map(say, story.retraining.reasons)))
    if story.refusal is not None:
        one = story.refusal
        stays = (
            f"{one.live_after} stays live."
            if one.live_before == one.live_after
            else (f"{one.live_after} is live in place of {one.live_before}.")
        )
        found.append("<h2>The bad candidate</h2>" + _list(map(say, [*one.reasons, stays])))
    return _section("Decisions with their reasons", "".join(found)) if found else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n"


def _list(lines: Iterable[str]) -> str:
    found = "".join(f"<li>{line}</li>" for line in lines)
    return f"<ul>{found}</ul>" if found else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    """`kind` words: the last column is text."""
    top = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="{kind}"><tr>{top}</tr>{body}</table>'


def _counts(found: dict[str, Any]) -> str:
    return ", ".join(f"{say(name)}: {count:,}" for name, count in found.items())
