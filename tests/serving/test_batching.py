"""Questions asked together: same answers, nobody spoilt by others, and an end to the queue."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.ease import EASE, EASEConfig
from bridgerec.models.popularity import Popularity
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.serving.additions import Additions, Entry, nearest
from bridgerec.serving.batching import Batcher, Job, Wanted, answer_all
from bridgerec.serving.problems import Unavailable
from bridgerec.serving.topk import Best
from bridgerec.serving.towers import load_served


class Waits(Popularity):
    """Popularity that answers when it is let go, and remembers how many it was asked at once."""

    def __init__(self) -> None:
        super().__init__()
        self.free, self.busy, self.sizes = threading.Event(), threading.Event(), list[int]()

    def score(self, histories: Histories, target: str) -> np.ndarray:
        self.busy.set()
        assert self.free.wait(30)
        self.sizes.append(len(histories))
        return super().score(histories, target)


class Breaks(EASE):
    """EASE that cannot bear item 13 and gives no number for item 14."""

    def score(self, histories: Histories, target: str) -> np.ndarray:
        if 13 in histories.items:
            raise RuntimeError("13")
        found = super().score(histories, target)
        found[[14 in histories.take(np.array([i])).items for i in range(len(found))]] = np.nan
        return found


def histories(training: Training) -> list[Histories]:
    """One row each, of the same moment."""
    time = training.histories.timestamp
    assert time is not None
    now = int(time.max()) + 5
    rng = np.random.default_rng(0)
    found = []
    for length in [0, 1, 2, 3, 5, 8, 13, 20, 24, 40]:
        one = Histories.of([rng.choice(60, length, replace=False).tolist()])
        found.append(replace(one, timestamp=np.full(length, now), asked=np.array([now])))
    return found


def same(one: object, other: object) -> bool:
    if isinstance(one, Best) and isinstance(other, Best):
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    return np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("added", [False, True])
def test_a_batch_answers_as_each_alone(training: Training, tmp_path: Path, added: bool) -> None:
    towers = TwoTower(TwoTowerConfig(epochs=1, batch_size=32))
    towers.train(training)
    towers.save(tmp_path / "towers")
    ease = EASE(EASEConfig(regularization=5))
    ease.train(training)
    served = load_served(tmp_path / "towers")
    rng = np.random.default_rng(2)
    assert training.vectors is not None
    new = []
    for place in range(3):
        vector = training.vectors[5] + 0.1 * rng.normal(size=16).astype(np.float32)
        near, share = nearest(training.vectors[:30] @ vector)
        new.append(Entry(60 + place, "left", vector, near, share, 0))
    extra = Additions(60).putting(new)
    borrowed = extra.borrowed("left") if added else None
    jobs, n = [], 30 + 3 * added
    for number, one in enumerate(histories(training)):
        hidden = rng.choice(n, number, replace=False)
        jobs.append(Job(served, one, "left", Wanted(6, hidden, borrowed)))
        jobs.append(Job(ease, one, "left", Wanted(n, hidden, borrowed)))
        jobs.append(Job(ease, one, "right", None))
    together = answer_all(jobs)
    for job, answer in zip(jobs, together, strict=True):
        alone = answer_all([job])[0]
        if job.model is served:
            assert same(answer, alone)  # to the last bit
        else:  # the model's own products round by the batch
            pair = [np.asarray(a.scores if isinstance(a, Best) else a) for a in (answer, alone)]
            np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-5)
    # and each is what all scores say
    for job, answer in zip(jobs, together, strict=True):
        row = job.model.score(job.histories, job.target)[0]
        if job.wanted is None:
            np.testing.assert_allclose(np.asarray(answer), row, rtol=1e-5, atol=1e-5)
            continue
        assert isinstance(answer, Best)
        if borrowed is not None:
            row = np.append(row, borrowed.scores(row))
        row[job.wanted.hidden] = -np.inf
        expected = np.sort(row)[::-1][: min(job.wanted.k, len(row) - len(job.wanted.hidden))]
        np.testing.assert_allclose(answer.scores, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(row[answer.places], expected, rtol=1e-4, atol=1e-4)


def test_one_bad_question_spoils_no_other(training: Training) -> None:
    model = Breaks(EASEConfig(regularization=5))
    model.train(training)
    jobs = [
        Job(model, Histories.of([[i, i + 1]]), "left", Wanted(3, np.array([i])))
        for i in (1, 12, 14, 20)
    ]
    found = answer_all(jobs)
    assert isinstance(found[0], Best)
    assert isinstance(found[1], RuntimeError)
    assert isinstance(found[2], FloatingPointError)
    alone = answer_all(jobs[3:])[0]
    assert isinstance(found[3], Best)
    assert isinstance(alone, Best)
    assert found[3].places.tolist() == alone.places.tolist()


def waiting(training: Training) -> tuple[Waits, Job]:
    model = Waits()
    model.train(training)
    return model, Job(model, Histories.of([[1]]), "left", Wanted(3, np.array([1])))


async def ask_many(batcher: Batcher, model: Waits, job: Job, count: int) -> list[object]:
    """Ask once, wait until the model is busy, ask `count` times more, let it go."""
    first = asyncio.create_task(batcher(job))
    while not model.busy.is_set():
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(batcher(job)) for _ in range(count)]
    await asyncio.sleep(0.01)
    model.free.set()
    return list(await asyncio.gather(first, *others, return_exceptions=True))


def test_what_comes_while_the_model_is_busy_is_one_batch(training: Training) -> None:
    model, job = waiting(training)
    batcher = Batcher(most=8)
    answers = asyncio.run(ask_many(batcher, model, job, 20))
    assert model.sizes == [1, 8, 8, 4]
    assert all(same(answer, answers[0]) for answer in answers)
    batcher.close()


def test_questions_that_arrive_one_by_one_are_one_batch(training: Training) -> None:
    """As those of new connections do, of which an event loop may let in one per round."""
    model, job = waiting(training)
    model.free.set()
    batcher = Batcher()

    async def arrive() -> list[object]:
        asked = []
        for _ in range(20):
            asked.append(asyncio.create_task(batcher(job)))
            for _ in range(3):  # from the socket to the batcher
                await asyncio.sleep(0)
        return list(await asyncio.gather(*asked))

    asyncio.run(arrive())
    assert model.sizes == [20]
    batcher.close()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(training: Training) -> None:
    model, job = waiting(training)
    batcher = Batcher(waiting=5)
    answers = asyncio.run(ask_many(batcher, model, job, 9))
    refused = [a for a in answers if isinstance(a, Unavailable)]
    assert len(refused) == 4
    assert {r.retry_after for r in refused} == {1}
    assert model.sizes == [1, 5]
    batcher.close()


def test_who_would_wait_too_long_is_refused(training: Training) -> None:
    model, job = waiting(training)
    batcher = Batcher(most=2, patience=1)
    batcher.each = 0.6  # seconds of a slow model: 4 waiting make 2.4
    answers = asyncio.run(ask_many(batcher, model, job, 6))
    refused = [a for a in answers if isinstance(a, Unavailable)]
    assert len(refused) == 2
    assert refused[0].retry_after == 2
    batcher.close()


def test_nobody_is_asked_for_who_has_gone(training: Training) -> None:
    model, job = waiting(training)
    batcher = Batcher()

    async def run() -> object:
        first = asyncio.create_task(batcher(job))
        while not model.busy.is_set():
            await asyncio.sleep(0.001)
        gone = [asyncio.create_task(batcher(job)) for _ in range(5)]
        stays = asyncio.create_task(batcher(job))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.sleep(0)
        model.free.set()
        return await first, await stays

    asyncio.run(run())
    assert model.sizes == [1, 1]
    batcher.close()
