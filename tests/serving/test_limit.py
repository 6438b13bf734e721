"""One timer for all must do what `asyncio.timeout` does with one for each."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridgerec.serving.limit import Limit

SECONDS = 5


class Clock(selectors.SelectSelector):
    """Jumps to what comes next instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0
        return super().select(None if timeout is None else 0)


class Jumping(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=Jumping) as runner:
        return runner.run(main())  # type: ignore[arg-type]


def by_limit() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    limit = Limit(SECONDS)

    async def bounded(work: Callable[[], Awaitable[Any]]) -> Any:
        with limit():
            return await work()

    return bounded


def by_timeouts() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    async def bounded(work: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(SECONDS):
            return await work()

    return bounded


# when it begins, how long each of its steps takes, and when somebody cancels it, if anybody does;
# no two of these moments are the same, nor is one when a limit is over
STEPS = [[], [0.5], [4.5], [6.5], [1.5, 1, 2], [2.5, 3, 1]]
TASK = st.tuples(
    st.integers(0, 9),
    st.sampled_from(STEPS),
    st.none() | st.integers(0, 12).map(lambda moment: moment + 0.25),
)


def story(
    bounded: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
    tasks: list[tuple[int, list[float], float | None]],
) -> list[tuple[str, float]]:
    """How each task ended, and when."""

    async def one(start: int, steps: list[float]) -> tuple[str, float]:
        loop = asyncio.get_running_loop()

        async def work() -> str:
            for step in steps:
                await asyncio.sleep(step)
            return "done"

        await asyncio.sleep(start)
        try:
            how = await bounded(work)
        except TimeoutError:
            how = "late"
        except asyncio.CancelledError:
            how = "cancelled"
        return how, loop.time()

    async def main() -> list[tuple[str, float]]:
        made = [asyncio.create_task(one(start, steps)) for start, steps, _ in tasks]
        for task, (_, _, moment) in zip(made, tasks, strict=True):
            if moment is not None:
                asyncio.get_running_loop().call_later(moment, task.cancel)
        found = await asyncio.gather(*made, return_exceptions=True)
        return [("never", -1.0) if isinstance(one, BaseException) else one for one in found]

    found: list[tuple[str, float]] = run(main)
    return found


@given(st.lists(TASK, max_size=8))
def test_it_ends_what_single_timeouts_end(
    tasks: list[tuple[int, list[float], float | None]],
) -> None:
    assert story(by_limit(), tasks) == story(by_timeouts(), tasks)


def test_an_inner_and_an_outer_limit() -> None:
    outer, inner = Limit(3), Limit(1)

    async def work(first: float, second: float) -> list[str]:
        said: list[str] = []
        try:
            with outer():
                await asyncio.sleep(first)
                try:
                    with inner() as own:
                        await asyncio.sleep(second)
                except TimeoutError:
                    assert own.expired
                    said.append("inner")
                    await asyncio.sleep(10)
        except TimeoutError:
            said.append("outer")
        return said

    assert run(lambda: work(0.1, 0.1)) == []
    assert run(lambda: work(0.1, 2)) == ["inner", "outer"]
    assert run(lambda: work(2.5, 0.9)) == ["outer"]


def test_an_error_of_the_work_is_its_own() -> None:
    limit = Limit(1)

    async def work() -> None:
        limited = limit()
        with pytest.raises(TimeoutError, match="mine"), limited:
            raise TimeoutError("mine")
        assert not limited.expired
        await asyncio.sleep(5)  # nothing comes later

    run(work)


def test_it_serves_another_loop_after_the_first_one_ended_in_the_middle() -> None:
    limit = Limit(1)

    async def forever() -> None:
        with limit():
            await asyncio.Event().wait()

    async def leave() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()

    async def late() -> bool:
        with pytest.raises(TimeoutError):
            await forever()
        return True

    run(leave)
    assert run(late)
    assert run(late)


def test_nothing_is_kept_where_no_older_one_runs() -> None:
    limit = Limit(100)

    async def work() -> int:
        for _ in range(50):
            with limit():
                await asyncio.sleep(0)
        return len(limit._running)

    assert run(work) == 0


def test_it_needs_a_task() -> None:
    with pytest.raises(RuntimeError):
        Limit(1)().__enter__()

    async def main() -> list[str]:
        said: list[str] = []

        def callback() -> None:
            try:
                Limit(1)().__enter__()
            except RuntimeError as error:
                said.append(str(error))

        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0.1)
        return said

    assert run(main) == ["a time limit needs a task that it can cancel"]
