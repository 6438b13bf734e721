"""The main release, and who is asked instead of it or beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from bridgerec.serving.canary.follow import Follower, Trial
from bridgerec.serving.canary.shadow import Shadow

ERRORS_IN_A_ROW = 5  # so many, and the second release is switched off


class Release(Protocol):
    """A loaded release, of which only the name is needed here."""

    @property
    def release(self) -> str: ...


R = TypeVar("R", bound=Release)
A = TypeVar("A")


class Releases(Generic[R]):
    """Main answers whenever the second release does not exist, is not ready or fails.

    `load` opens a bundle; `control` is the file of the plan (None: there is never a second one);
    `shadowed` gets what each call in the shadow returned.
    """

    def __init__(
        self,
        main: R,
        load: Callable[[Path], R],
        control: Path | None,
        shadowed: Callable[[Any], None] = lambda _: None,
        errors_in_a_row: int = ERRORS_IN_A_ROW,
    ) -> None:
        self.main, self.most_errors = main, errors_in_a_row
        self.follower: Follower[R] = Follower(load, control)
        self.shadow = Shadow(shadowed)

    def choose(self, person: str) -> R:
        """Who answers this person (a user id, or the request id of somebody unknown)."""
        return self._chosen(self.follower.look(), person) or self.main

    def ask(self, person: str, call: Callable[[R], A]) -> A:
        """`call(release)` of whoever is to answer; main's, if the second release fails.  The call
        must be one that can be made twice: what is done once, such as logging, comes after."""
        trial = self.follower.look()
        second = self._chosen(trial, person)
        if second is not None:
            try:
                answer = call(second)
            except Exception as error:
                answer = call(self.main)  # if main refuses too, it was the request's fault
                self._failed(trial, error)
            else:
                self._succeeded(trial)
            return answer
        answer = call(self.main)
        beside = self._beside(trial, person)
        if beside is not None:
            self.shadow.put(partial(call, beside))
        return answer

    async def ask_async(self, person: str, call: Callable[[R], Awaitable[A]]) -> A:
        """As `ask`, for calls that are awaited."""
        trial = self.follower.look()
        second = self._chosen(trial, person)
        if second is not None:
            try:
                answer = await call(second)
            except asyncio.CancelledError as slow:  # by the time limit: nobody is left to answer
                self._failed(trial, slow)
                raise
            except Exception as error:
                answer = await call(self.main)
                self._failed(trial, error)
            else:
                self._succeeded(trial)
            return answer
        answer = await call(self.main)
        beside = self._beside(trial, person)
        if beside is not None:
            self.shadow.put_async(partial(call, beside))
        return answer

    def status(self) -> dict[str, Any]:
        """The plan and how it goes in this worker."""
        trial = self.follower.look(now=True)
        plan, second = trial.plan, trial.second
        return {
            "state": trial.state,
            "reason": plan.off if plan is not None and plan.off else trial.reason,
            "plan": None if plan is None else plan.model_dump(exclude={"off"}),
            "main": self.main.release,
            "second": None if second is None else second.release,
            "answered": trial.answered,
            "errors": trial.errors,
            "shadow_answers": self.shadow.answers,
            "shadow_errors": self.shadow.errors,
            "shadow_dropped": self.shadow.dropped,
        }

    @staticmethod
    def _chosen(trial: Trial[R], person: str) -> R | None:
        second, plan = trial.active("canary"), trial.plan
        return second if plan is not None and plan.takes(person) else None

    @staticmethod
    def _beside(trial: Trial[R], person: str) -> R | None:
        second, plan = trial.active("shadow"), trial.plan
        return second if plan is not None and plan.takes(person) else None

    def _failed(self, trial: Trial[R], error: BaseException) -> None:
        trial.errors += 1
        trial.in_a_row += 1
        if trial.in_a_row >= self.most_errors:
            last = type(error).__name__
            self.follower.switch_off(
                trial, f"{trial.in_a_row} errors in a row, the last one a {last}"
            )

    @staticmethod
    def _succeeded(trial: Trial[R]) -> None:
        trial.answered += 1
        trial.in_a_row = 0
