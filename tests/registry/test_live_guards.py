"""A new winner beside what the live release does for the same people, segment by segment."""

import numpy as np
import pytest

from bridgerec.evaluation.metrics import ranks
from bridgerec.evaluation.segments import LEAST, Languages
from bridgerec.registry.guards import failures
from bridgerec.registry.live_guards import Answered
from languages_world import (
    BETTER,
    BLIND,
    CHINESE,
    LATIN,
    PEOPLE,
    POPULARITY,
    Model,
    asked,
    judged,
    two_languages,
)


def test_who_lost_a_language_that_the_live_release_has_is_told() -> None:
    metrics, _, params = judged(popularity=POPULARITY, blind=BLIND, same=BETTER)
    training = two_languages()
    cases = asked(training)
    scores = Model(training, cases, **BETTER).score(cases.histories, "right", cases.users)
    start = training.catalogue.block("right").start
    wanted, seen = (
        type(h)(h.indptr, h.items - start, h.weights)
        for h in (cases.relevant, cases.histories.within(training.catalogue.block("right")))
    )
    live = Answered(cases, training, ranks(scores, seen, wanted))
    new = {name: metrics["validation"]["temporal"][name]["right"] for name in ("blind", "same")}
    languages = Languages.of(training.catalogue)
    same = live.guarded(new["same"], "temporal", "warm", languages, params)
    assert {one["segment"] for one in same} >= {LATIN, CHINESE}
    assert failures(same) == []
    for one in same:  # the live release does just as well
        assert one["least"] == pytest.approx(0.5 * one["value"])
    assert live.values(params).mean() == pytest.approx(new["same"]["all"]["ndcg@10"]["value"])
    (line,) = failures(live.guarded(new["blind"], "temporal", "warm", languages, params))
    assert f"temporal/right/{CHINESE} is below the guard's" in line
    few = np.arange(PEOPLE // 2 - 19, PEOPLE // 2 + LEAST)  # 19 who ask for English items
    start, stop = cases.relevant.indptr[[few[0], few[-1] + 1]]
    some = Answered(cases.take(few), training, live.rank[start:stop])
    told = some.guarded(new["same"], "temporal", "warm", languages, params)
    assert not {LATIN, CHINESE} & {one["segment"] for one in told}
    blind = Answered(cases, training, np.full_like(live.rank, 1000))
    for one in blind.guarded(new["blind"], "temporal", "warm", languages, params):
        assert one["why"] == "nothing is asked, as the live release finds nothing"
    with pytest.raises(KeyError):
        live.guarded({LATIN: new["same"][LATIN]}, "temporal", "warm", languages, params)
    assert np.isfinite(live.values(params)).all()
