"""A re-ranking rule of somebody else's that fails: the list is made without it, and says so."""

import asyncio
import logging
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest

from bridgerec.config import Service
from bridgerec.data.dataset import Training
from bridgerec.models.ease import EASE
from bridgerec.serving.app import make_app
from bridgerec.serving.embedder import Embedder
from bridgerec.serving.guard import GuardSettings, RequestLog, guard
from bridgerec.serving.live import Live
from bridgerec.serving.people import People
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.rules import Context, Rule, resorted
from bridgerec.serving.shelf import Shelf

PERSON = "person-4711"
ASKED = {"target": "right", "user_id": PERSON, "k": 5}


class Broken(Rule):
    """Fails, or breaks its promise, as `how` says."""

    how: ClassVar[str] = "raise"

    def idle(self, diversity: float) -> bool:
        if self.how == "idle":
            raise ValueError(PERSON)
        return self.how == "never"

    def apply(self, pool: Ranked, context: Context) -> Ranked:
        if self.how == "raise":
            raise ValueError(PERSON)
        items, scores = pool.items.copy(), pool.scores.copy()
        if self.how == "strange":
            items[0] = 3  # of another domain
        elif self.how == "twice":
            items[1] = items[0]
        elif self.how == "nan":
            scores[0] = np.nan
        elif self.how == "short":
            scores = scores[:-1]
        return Ranked(items, scores)


class Reversed(Rule):
    """Works: the worst of the pool comes first."""

    def apply(self, pool: Ranked, context: Context) -> Ranked:
        return resorted(pool, -pool.scores)


def service(training: Training, *rules: type[Rule]) -> Recommender:
    ease = EASE()
    ease.train(training)
    used = [{"use": f"{rule.__module__}:{rule.__name__}"} for rule in rules]
    options = {**Service(rules_pool=30).model_dump(mode="json"), "rules": used}
    return Recommender(
        release="r1",
        dossier={},
        service=options,
        models={"warm": ease, "cold_start": ease, "unknown": ease},
        names={"warm": "ease", "cold_start": "ease", "unknown": "ease"},
        people=People(training.histories, {}, {}, []),
        shelf=Shelf(training.catalogue),
    )


def ask(recommender: Recommender, body: dict[str, Any]) -> tuple[httpx.Response, str]:
    """The answer over HTTP, and /metrics afterwards."""
    live = Live(recommender, Embedder(recommender.folder))
    app = guard(make_app(lambda: live), GuardSettings(), RequestLog())

    async def work() -> tuple[httpx.Response, str]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/recommend", json=body), (await client.get("/metrics")).text

    return asyncio.run(work())


def counted(metrics: str) -> float:
    lines = [x for x in metrics.splitlines() if "bridgerec_rule_failures_total{" in x]
    return sum(float(x.rpartition(" ")[2]) for x in lines if 'rule="Broken"' in x)


@pytest.mark.parametrize("how", ["raise", "idle", "strange", "twice", "nan", "short"])
@pytest.mark.parametrize("explain", [False, True])
def test_a_rule_that_fails_is_left_out_and_named(
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
    explain: bool,
) -> None:
    monkeypatch.setattr(Broken, "how", how)
    body = {**ASKED, "explain": explain}
    before = counted(ask(service(training, Reversed), body)[1])
    with caplog.at_level(logging.ERROR):
        answer, metrics = ask(service(training, Broken, Reversed), body)
    expected, _ = ask(service(training, Reversed), body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["items"] == expected.json()["items"]  # the other rule goes on
    assert answer.json()["route"] == "unknown"  # the model has not failed
    fails = how != "idle"  # whoever cannot tell whether it is idle is asked
    told = [note for note in answer.json()["notes"] if "Broken" in note]
    assert told == (["the rule Broken failed; the list is made without it"] if fails else [])
    assert counted(metrics) - before == fails
    own = f"request {answer.json()['request_id']}: the rule Broken failed"
    assert (own in caplog.text) == fails
    assert PERSON not in caplog.text


def test_a_rule_that_fails_for_two_targets_is_told_once(training: Training) -> None:
    both = {**ASKED, "target": ["left", "right"]}
    answer, _ = ask(service(training, Broken), both)
    plain, _ = ask(service(training), both)
    assert answer.json()["items"] == plain.json()["items"]
    assert len([note for note in answer.json()["notes"] if "Broken" in note]) == 1


def test_a_rule_that_was_not_asked_is_not_missed(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "how", "never")
    plain = ask(service(training), ASKED)[0].json()["notes"]
    assert ask(service(training, Broken), ASKED)[0].json()["notes"] == plain
