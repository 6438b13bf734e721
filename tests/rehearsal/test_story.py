"""What is counted, what is told, and which folders are taken."""

import json
from pathlib import Path

import httpx
import pytest

from bridgerec.errors import ConfigError
from bridgerec.rehearsal.faults import draw
from bridgerec.rehearsal.plan import Plan
from bridgerec.rehearsal.quality import Mean
from bridgerec.rehearsal.shuffled import Shuffled, ShuffledConfig
from bridgerec.rehearsal.story import Act, Kill, Refusal, Retraining, Story, Watch
from bridgerec.rehearsal.tally import Tally
from bridgerec.rehearsal.world import claimed
from bridgerec.testing import CandidateContract


class TestShuffled(CandidateContract):
    candidate = Shuffled
    configs = (
        ShuffledConfig(
            of="bridgerec.models.ease:EASE", options={"regularization": 10.0, "text_weight": 1.0}
        ),
    )


def test_shuffled_knows_nothing_of_tastes_but_as_much_of_popularity(training) -> None:
    from bridgerec.models.popularity import PopularityConfig

    popular = Shuffled(ShuffledConfig(of="bridgerec.models.popularity:Popularity"), 3)
    popular.train(training)
    honest = type(popular.misled)(PopularityConfig())
    honest.train(training)
    asked = training.histories.batch(0, 1)
    for target in training.catalogue.domains:
        assert sorted(popular.score(asked, target)[0]) == sorted(honest.score(asked, target)[0])


def test_every_response_is_counted() -> None:
    tally = Tally()
    answer = {"release": "r1", "route": "fallback"}
    tally.count("/recommend", 0.01, httpx.Response(200, json=answer))
    tally.count("/recommend", 0.02, httpx.Response(503, text="busy"))
    tally.count("/events", 0.03, httpx.ConnectError("refused"))
    found = tally.summary()
    assert found["requests"] == 3
    assert found["failures"] == 2
    assert found["fallbacks"] == 1
    assert found["by_status"] == {"200": 1, "503": 1, "ConnectError": 1}
    assert found["by_release"] == {"r1": 1}
    assert found["first_failures"] == ["/recommend: 503 busy", "/events: ConnectError refused"]
    assert found["given_up"] == 0
    assert found["p50_milliseconds"] == 20


def test_the_page_tells_the_numbers_and_needs_nothing_else(tmp_path: Path) -> None:
    tally = Tally()
    tally.count("/events", 0.03, httpx.Response(500, text="<script>bad()</script>"))
    one = {"value": 0.2, "low": 0.1, "high": 0.3, "people": 9}
    names = ("maintained", "frozen", "maintained_clicks", "frozen_clicks")
    story = Story(
        plan=Plan(),
        acts=[Act(name="Calm days", began=0, seconds=65, words="1 < 2 & so on", day=0)],
        watches=[Watch(day=10, drift=True, alarms=["vectors"], words="the data moved")],
        days=[{"day": d, "visits": 9, "clicks": 3, **dict.fromkeys(names, one)} for d in range(3)],
        retraining=Retraining(by_event=1, seconds=70, rows=5, items=2, outcome="abc is live",
                              reasons=["r"]),
        requests=tally.summary(),
        refusal=Refusal(candidate="shuffled", refused=True, reasons=["refused: no candidate"],
                        live_before="abc", live_after="abc"),
        faults=draw(1),
        kills=[Kill(victim="stage", process="stage train <x> (7)", act="A", at=80.5, away=9.25,
                    failed=3)],
        again=["brave-fox: killed"],
        accepted=1234,
        gain={"ndcg": Mean(value=0.1, low=0.05, high=0.15, people=9),
              "clicks": Mean(value=0.1, low=-0.05, high=0.15, people=9)},
    )  # fmt: skip
    story.write(tmp_path)
    page = (tmp_path / "story.html").read_text(encoding="utf-8")
    for words in ("1 of 1 requests failed", "6 days after the shift (vectors)", "abc is live",
                  "+0.1000 [+0.0500, +0.1500]", "1 &lt; 2 &amp; so on", "abc stays live",
                  "&lt;script&gt;bad()", "stage train &lt;x&gt; (7)", "1 of 5 planned processes",
                  "0 of 1,234 accepted events were lost", "Started again: brave-fox"):  # fmt: skip
        assert words in page
    acts = page.split('<table class="words">')[1].split("</table>")[0]
    assert acts.index("<th>what</th>") < acts.index("<td>1 &lt; 2 &amp; so on</td>")
    assert "<script" not in page
    assert "http" not in page
    assert page.count("<svg") == 2
    assert json.loads((tmp_path / "story.json").read_text())["requests"]["failures"] == 1


def test_only_a_rehearsals_own_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="no rehearsal made it"), claimed(tmp_path, Plan()):
        pass
    place = tmp_path / "new"
    kept = place / "first"
    with claimed(place, Plan()):
        kept.mkdir()
        with (
            pytest.raises(ConfigError, match="another rehearsal plays"),
            claimed(place, Plan(seed=1)),
        ):
            pass
    with claimed(place, Plan()):
        assert kept.is_dir()
    with claimed(place, Plan(seed=1)):  # of another plan: made anew
        assert not kept.exists()
