"""A new winner beside what the live release does for the same people, segment by segment."""

import numpy as np
import pytest

from bridgerec.evaluation.metrics import ranks
from bridgerec.evaluation.segments import Scripts
from bridgerec.registry.guards import failures
from bridgerec.registry.live_guards import Answered
from languages_world import (
    BETTER,
    BLIND,
    CHINESE,
    LATIN,
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
    scripts = Scripts.of(training.catalogue)
    same = live.guarded(new["same"], "temporal", "warm", scripts, params)
    assert {one["segment"] for one in same} >= {LATIN, CHINESE}
    assert failures(same) == []
    for one in same:  # the live release does just as well
        assert one["least"] == pytest.approx(0.5 * one["value"])
    assert live.values(params).mean() == pytest.approx(new["same"]["all"]["ndcg@10"]["value"])
    (line,) = failures(live.guarded(new["blind"], "temporal", "warm", scripts, params))
    assert f"temporal/right/{CHINESE} is below the guard's" in line
    with pytest.raises(KeyError):
        live.guarded({LATIN: new["same"][LATIN]}, "temporal", "warm", scripts, params)
    assert np.isfinite(live.values(params)).all()
