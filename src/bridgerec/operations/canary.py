"""A new release answers some people first; then everybody, or nobody.

The running service follows the control file of a second release (`serving.canary`); what its
workers write into the traffic log tells how the new one does.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bridgerec.config import Canary, Workspace
from bridgerec.errors import ConfigError
from bridgerec.monitoring.log_files import LogFiles
from bridgerec.monitoring.traffic import read_answer
from bridgerec.operations.state import read_state
from bridgerec.registry.store import Release
from bridgerec.serving.canary.plan import Plan, read_plan, write_plan
from bridgerec.serving.switch import control_file

OWN = "release "  # begins the salt of a trial that a release made itself
POLL = 0.5  # seconds
ENOUGH = 10  # answers, before their share of fallbacks says anything


@dataclass(frozen=True)
class Tried:
    """What the service did meanwhile: `answered` by the new release, `fallbacks` of them by its
    baseline, `others` by other releases; `reason` is why it must not go live."""

    release: str
    answered: int
    fallbacks: int
    others: int
    seconds: float
    reason: str | None

    @property
    def words(self) -> str:
        if self.reason is not None:
            return f"{self.release} was rolled back from its trial: {self.reason}"
        return (
            f"{self.release} was on trial for {self.seconds:.0f} s: {self.answered} answers, "
            f"{self.fallbacks} of them by its baseline, beside {self.others} of others"
        )


def try_on_some(workspace: Workspace, release: Release) -> Tried | None:
    """Let a share of people have the release, until it gave enough answers or the time is over.

    A good trial stays on, so that who has it keeps it until everybody goes over; a bad one, and one
    that is interrupted, is rolled back at once.  None: there is no trial, because `gate.canary` is
    null, no service of `bridgerec up` runs, or a person's trial is going on.
    """
    wanted, control = workspace.params.gate.canary, control_file(workspace)
    state = read_state(workspace)
    if wanted is None or not state.alive("service") or _of_a_person(control):
        return None
    log = LogFiles(workspace.traffic, "requests")
    log.skip()
    plan = Plan(
        bento=str(release.bento.resolve()),
        weight=wanted.weight,
        salt=f"{OWN}{release.id}"[:64],
    )
    try:
        write_plan(control, plan)
        found = _watch(release.id, state.parts["service"].url, control, log, wanted)
    except BaseException:
        control.unlink(missing_ok=True)
        raise
    if found.reason is not None:
        control.unlink(missing_ok=True)
    return found


def _of_a_person(control: Path) -> bool:
    if not control.exists():
        return False
    with suppress(ConfigError):
        return not read_plan(control).salt.startswith(OWN)
    return True


def _watch(release: str, url: str, control: Path, log: LogFiles, wanted: Canary) -> Tried:
    began, seen = time.monotonic(), _Seen()
    while True:
        time.sleep(POLL)
        for line in log.new():
            seen.count(read_answer(line), release)
        spent = time.monotonic() - began
        over = seen.answered >= wanted.answers or spent >= wanted.seconds
        reason = _switched_off(control) or seen.too_many(wanted.fallbacks)
        if reason is None and over and not seen.answered:
            reason = _refused(url)
        if reason is not None or over:
            return Tried(release, seen.answered, seen.fallbacks, seen.others, spent, reason)


def _switched_off(control: Path) -> str | None:
    """Why the workers gave the trial up (they write it into the file), or that somebody did."""
    if not control.exists():
        return "somebody ended it"
    with suppress(ConfigError):
        return read_plan(control).off
    return None


def _refused(url: str) -> str | None:
    """Why the service could not load it, where it tells those who have no key."""
    with suppress(httpx.HTTPError, ValueError, KeyError):
        found = httpx.get(f"{url}/admin/canary", timeout=10).raise_for_status().json()
        return str(found["reason"]) if found["state"] == "refused" else None
    return None


class _Seen:
    """How many answers the new release gave, and the others."""

    def __init__(self) -> None:
        self.answered = self.fallbacks = self.others = self.usual = 0

    def count(self, line: dict[str, Any] | None, release: str) -> None:
        """Count a line of the log, unless it is damaged or nobody was shown it."""
        if line is None or line.get("shadow"):
            return
        fallback = line["route"] == "fallback"
        if line["release"] == release:
            self.answered += 1
            self.fallbacks += fallback
        else:
            self.others += 1
            self.usual += fallback

    def too_many(self, share: float) -> str | None:
        """That the baseline answers for it more often than for the others, by more than `share`."""
        if self.answered < ENOUGH:
            return None
        own, usual = self.fallbacks / self.answered, self.usual / max(self.others, 1)
        if own <= usual + share:
            return None
        return (
            f"{self.fallbacks} of its {self.answered} answers came from its baseline "
            f"({own:.0%}; {usual:.0%} of the others')"
        )
