"""The main release, and who is asked instead of it or beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from bridgerec.errors import BridgeRecError
from bridgerec.serving.canary.follow import Follower, Release, Trial
from bridgerec.serving.canary.plan import move_file
from bridgerec.serving.canary.shadow import Shadow
from bridgerec.serving.problems import NotFound, Unavailable

ERRORS_IN_A_ROW = 5  # so many, and a release is switched off


R = TypeVar("R", bound=Release)
A = TypeVar("A")
Ahead = tuple[Follower[R], Trial[R], R]


class Releases(Generic[R]):
    """Main answers whenever the second release does not exist, is not ready or fails.

    Main is the release that the service went over to (`move`), from the moment it is loaded;
    before, and wherever that one fails, the one that the service `began` with.  `load` opens a
    bundle; `control` is the file of the plan (None: there is never another release); `shadowed`
    gets what each call in the shadow returned.
    """

    def __init__(
        self,
        began: R,
        load: Callable[[Path], R],
        control: Path | None,
        shadowed: Callable[[Any], None] = lambda _: None,
        errors_in_a_row: int = ERRORS_IN_A_ROW,
    ) -> None:
        self.began, self.most_errors = began, errors_in_a_row
        self.move: Follower[R] = Follower(load, None if control is None else move_file(control))
        self.follower: Follower[R] = Follower(load, control)
        self.shadow = Shadow(shadowed)

    @property
    def main(self) -> R:
        """Who answers everybody that is not on trial."""
        return self.move.look().active("canary") or self.began

    def loaded(self) -> list[R]:
        """Every release that this worker holds."""
        others = (self.move.trial.second, self.follower.trial.second)
        return [self.began, *(release for release in others if release is not None)]

    def ids(self) -> list[str]:
        """The ids of every release that this worker holds."""
        return [*dict.fromkeys(release.release for release in self.loaded())]

    def named(self, release: str) -> R:
        """A release that this worker holds, by its id, whoever's turn it is; asking it counts in
        no trial.

        Raises:
            NotFound: this worker holds no such release.
            Unavailable: it may be the one that is being loaded.
        """
        trials = self.move.look(now=True), self.follower.look(now=True)
        for known in self.loaded():
            if known.release == release:
                return known
        if any(trial.state == "loading" for trial in trials):
            raise Unavailable(
                f"a release is still being loaded here; it may be {release!r}",
                "Send it again in a few seconds.",
                retry_after=2,
            )
        raise NotFound(
            f"no release {release!r} is loaded here; loaded are {self.ids()}",
            "Name one of these, or leave `release` out; GET /admin/canary tells who is on trial.",
        )

    def choose(self, person: str) -> R:
        """Who answers this person (a user id, or the request id of somebody unknown)."""
        ahead = self._ahead(person)
        return ahead[0][2] if ahead else self.began

    def ask(self, person: str, call: Callable[[R], A]) -> A:
        """`call(release)` of whoever is to answer; main's, if the second release fails.  The call
        must be one that can be made twice: what is done once, such as logging, comes after."""
        failures: list[tuple[Ahead[R], BaseException]] = []
        for asked in self._ahead(person):
            try:
                answer = call(asked[2])
            except Exception as error:
                self._refusal(asked, error)
                failures.append((asked, error))
            else:
                self._succeeded(asked[1])
                break
        else:
            answer = call(self.began)  # if it refuses too, it was the request's fault
        self._failed(failures)
        beside = self._beside(person)
        if beside is not None:
            self.shadow.put(partial(call, beside))
        return answer

    async def ask_async(
        self,
        person: str,
        call: Callable[[R], Awaitable[A]],
        shadow: Callable[[R], Awaitable[Any]] | None = None,
    ) -> A:
        """As `ask`, for calls that are awaited; `shadow` is the call in the shadow, if it is
        another one."""
        failures: list[tuple[Ahead[R], BaseException]] = []
        for asked in self._ahead(person):
            try:
                answer = await call(asked[2])
            except asyncio.CancelledError as slow:  # by the time limit: nobody is left to answer
                self._failed([*failures, (asked, slow)])
                raise
            except Exception as error:
                self._refusal(asked, error)
                failures.append((asked, error))
            else:
                self._succeeded(asked[1])
                break
        else:
            answer = await call(self.began)
        self._failed(failures)
        beside = self._beside(person)
        if beside is not None:
            self.shadow.put_async(partial(shadow or call, beside))
        return answer

    def status(self) -> dict[str, Any]:
        """The plan and how it goes in this worker."""
        move, trial = self.move.look(now=True), self.follower.look(now=True)
        plan, second = trial.plan, trial.second
        return {
            "state": trial.state,
            "reason": _reason(trial),
            "plan": None if plan is None else plan.model_dump(exclude={"off"}),
            "main": self.main.release,
            "move": move.state,
            "move_reason": _reason(move),
            "second": None if second is None else second.release,
            "loaded": self.ids(),
            "answered": trial.answered,
            "errors": trial.errors,
            "shadow_answers": self.shadow.answers,
            "shadow_errors": self.shadow.errors,
            "shadow_dropped": self.shadow.dropped,
        }

    def _ahead(self, person: str) -> list[Ahead[R]]:
        """Who is asked, in this order, before the release that the service began with."""
        move, trial = self.move.look(), self.follower.look()
        found: list[Ahead[R]] = []
        second, plan, main = trial.active("canary"), trial.plan, move.active("canary")
        if second is not None and plan is not None and plan.takes(person):
            found.append((self.follower, trial, second))
        if main is not None:
            found.append((self.move, move, main))
        return found

    def _beside(self, person: str) -> R | None:
        trial = self.follower.trial
        second, plan = trial.active("shadow"), trial.plan
        return second if plan is not None and plan.takes(person) else None

    def _refusal(self, asked: Ahead[R], error: Exception) -> None:
        """Raise what main refuses: an older release that would not is nobody's to ask."""
        if asked[0] is self.move and isinstance(error, BridgeRecError):
            raise error

    def _failed(self, failures: list[tuple[Ahead[R], BaseException]]) -> None:
        for (follower, trial, _), error in failures:
            trial.errors += 1
            trial.in_a_row += 1
            if trial.in_a_row >= self.most_errors:
                last = type(error).__name__
                follower.switch_off(
                    trial, f"{trial.in_a_row} errors in a row, the last one a {last}"
                )

    @staticmethod
    def _succeeded(trial: Trial[Any]) -> None:
        trial.answered += 1
        trial.in_a_row = 0


def _reason(trial: Trial[Any]) -> str | None:
    """Why a release does not answer."""
    return trial.plan.off if trial.plan is not None and trial.plan.off else trial.reason
