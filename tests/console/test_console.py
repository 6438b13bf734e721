"""The console in a real browser, against the built Bento: by clicks and by keys."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridgerec.config import Workspace
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.canary import Plan, write_plan
from bridgerec.serving.keys import add_key
from bridgerec.serving.launch import running
from browser import Console, gate, started

pytestmark = pytest.mark.slow
VIEWS = ("recommend", "people", "evidence", "release")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def url(
    browser: Any, finished: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    bento = tmp_path_factory.mktemp("console") / "bento"
    shutil.copytree(finished.bento, bento)
    with running(bento, timeout=180) as found:
        yield found


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[..., Console]]:
    """Opens a console; what any of them did wrong comes out at the end."""
    consoles: list[Console] = []

    def new(at: str = url, **options: Any) -> Console:
        consoles.append(Console(browser, at, **options))
        return consoles[-1]

    yield new
    for console in consoles:
        console.close()


def add(page: Any, domain: str, place: int) -> str:
    """Adds the item at `place` of a domain's first items to the history; its title."""
    page.select_option("#item-domain", domain)
    page.click("#item-input")
    row = page.locator("#item-list button", has=page.locator(f".badge:text-is('{domain}')"))
    title: str = row.nth(place).locator(".grow").inner_text()
    row.nth(place).click()
    page.keyboard.press("Escape")
    return title


def ready(url: str) -> None:
    """Waits until the service has loaded its text encoder."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        question = {"text": "x", "target": "films"}
        if httpx.post(f"{url}/search", json=question, timeout=30).status_code == 200:
            return
        time.sleep(1)
    raise AssertionError("the encoder was not loaded within two minutes")


def test_a_history_built_by_clicks_changes_the_list(visit: Callable[..., Console]) -> None:
    console = visit()
    page = console.open()
    general = console.settled()
    assert general["route"] == "unknown"
    assert len(console.shown()) == 10
    first, second = add(page, "books", 0), add(page, "kitchenware", 2)
    assert console.history() == [first, second]
    carried = console.settled()
    assert carried["route"] == "cold_start"
    assert carried["items"] != general["items"]
    assert page.locator("#answer .state").inner_text() == "new here, known elsewhere"
    assert carried["candidate"] in page.locator("#answer").inner_text()
    assert carried["release"] in page.locator("#answer").inner_text()

    page.locator("#history li").last.get_by_role("button", name="older").click()
    assert console.history() == [second, first]
    console.settled()
    assert [e["domain"] for e in console.questions()[-1][1]["history"]] == ["kitchenware", "books"]

    chosen = console.shown()[3]
    page.locator(f"[data-item='{chosen}'] button").click()
    assert console.settled()["route"] == "warm"
    assert chosen not in console.shown()
    assert len(console.history()) == 3
    for _ in range(3):
        page.locator("#history button", has_text="✕").first.click()
    assert console.settled()["items"] == general["items"]
    pictures = page.locator("#items img.picture").all()
    assert pictures
    assert all(
        picture.evaluate("p => p.decode().then(() => p.naturalWidth)") for picture in pictures
    )
    assert "liked, in any domain" in page.locator("#history-note").inner_text()


def test_several_targets_and_a_number(visit: Callable[..., Console]) -> None:
    console = visit()
    page = console.open()
    page.locator("#targets label", has_text="books").click()
    page.fill("#k", "7")
    found = console.settled()
    assert sorted(found["target"]) == ["books", "films"]
    assert len(console.shown()) == 7
    page.locator("#targets label", has_text="films").click()
    page.locator("#targets label", has_text="books").click()  # the last one cannot be taken away
    assert console.settled()["target"] == ["books"]
    assert page.locator("#targets input:checked").count() == 1


def test_quick_changes_ask_once(visit: Callable[..., Console]) -> None:
    console = visit()
    page = console.open()
    console.settled()
    before = len(console.questions())
    for k in range(2, 10):
        page.fill("#k", str(k))
    assert len(console.settled()["items"]) == 9
    assert len(console.questions()) - before <= 2


def test_wish_search_variety_and_filters(visit: Callable[..., Console], url: str) -> None:
    ready(url)
    console = visit(expected=("/recommend",))  # a price range that is refused
    page = console.open()
    add(page, "books", 1)
    plain = console.settled()
    page.fill("#wish", "a stormy sea and a lighthouse")
    wished = console.settled()
    assert console.questions()[-1][1]["wish"] == "a stormy sea and a lighthouse"
    assert wished["items"] != plain["items"]
    page.select_option("#manner", "search")
    page.get_by_label("Share of taste").fill("0")
    searched = console.settled()
    assert console.questions()[-1][0] == "/search"
    assert searched["understood"] in page.locator("#answer").inner_text()
    assert page.locator("#diversity").is_disabled()
    page.fill("#wish", "")
    assert console.settled()["items"] == plain["items"]

    page.locator("#more summary").click()
    page.get_by_label("Variety").fill("0.8")
    varied = console.settled()
    assert console.questions()[-1][1]["diversity"] == 0.8
    assert [i["item_id"] for i in varied["items"]] != [i["item_id"] for i in plain["items"]]
    assert "Rule MMR moved it" in page.locator("#items").inner_text()
    page.locator("#diversity").fill("0")
    category = plain["items"][0]["category"].split(" > ")[1]
    prefix = plain["items"][0]["category"].partition(category)[0] + category
    page.fill("#categories", prefix)
    kept = console.settled()
    assert kept["items"]
    assert all(item["category"].startswith(prefix) for item in kept["items"])
    brand = kept["items"][0]["brand"]
    page.fill("#brands", brand)
    assert {item["brand"] for item in console.settled()["items"]} == {brand}
    page.fill("#categories", "No such thing")
    page.locator("#items", has_text="No item is left").wait_for()
    page.fill("#categories", "")
    page.fill("#price-min", "5")
    page.fill("#price-max", "2")
    trouble = page.locator("#answer .trouble")
    assert "price_min 5 is above price_max 2" in trouble.inner_text()
    page.fill("#price-max", "")
    page.fill("#price-min", "")
    assert {item["brand"] for item in console.settled()["items"]} == {brand}


def test_reasons_name_what_was_clicked(visit: Callable[..., Console]) -> None:
    console = visit()
    page = console.open()
    added = [add(page, "books", place) for place in range(3)]
    console.settled()
    told = page.locator("#items .reasons").all_inner_texts()
    assert any("Because of" in text and title in text for text in told for title in added)
    page.locator("#more summary").click()
    page.click("#explain")
    console.settled()
    assert page.locator("#items .reasons").count() == 0


def test_every_kind_of_reason_is_told(visit: Callable[..., Console]) -> None:
    page = visit().open()
    text = page.evaluate(
        """async () => {
          const { card } = await import("/console/item.js");
          const item = {rank: 2, domain: "films", item_id: "x", title: "Ahoy", category: "A > B",
            brand: "", price: 3, image: null, score: -1.5, explanation: {
              because: [{domain: "books", item_id: "b", title: "Moby", contribution: 0.52}],
              shared: ["sea"], moved: [{rule: "Quota", from: 5, to: 2}]}};
          return card(item, 0.5, 3).textContent;
        }"""
    )
    for part in ("Because of", "Moby", "+0.52", "sea", "Quota", "from rank 5 to 2", "3.00", "▲3"):
        assert part in text
    assert "Score-1.50" in text


def test_each_item_shows_its_score(visit: Callable[..., Console]) -> None:
    console = visit()
    page = console.open()
    answer = console.settled()
    written = page.locator("#items li .score .number").all_inner_texts()
    scores = [item["score"] for item in answer["items"]]
    assert [float(text) for text in written] == pytest.approx(scores, rel=0.05)
    bars = page.locator("#items li .score .fill").evaluate_all(
        "found => found.map(e => parseFloat(e.style.inlineSize))"
    )
    assert len(bars) == len(scores)
    assert bars[0] == 100
    assert bars == sorted(bars, reverse=True)


def test_what_has_no_title_is_called_by_its_id(visit: Callable[..., Console]) -> None:
    page = visit().open()
    found = page.evaluate(
        """async () => {
          const { card } = await import("/console/item.js");
          const { add } = await import("/console/state.js");
          const item = {rank: 1, domain: "films", item_id: "F-bare", title: " ", category: "",
            brand: "", price: null, image: "", score: 1, explanation: {
              because: [{domain: "books", item_id: "B-bare", title: "", contribution: 0.5}],
              shared: [], moved: [{rule: "Chance", from: 4, to: 1}]}};
          const shown = card(item, 0.5, null);
          add(item);
          return [shown.querySelector("h3").textContent, shown.querySelector(".cause").textContent,
            shown.querySelector("button").getAttribute("aria-label"), shown.textContent];
        }"""
    )
    title, cause, label, text = found
    assert title == "F-bare"
    assert "B-bare" in cause
    assert "F-bare" in label
    assert "Chance moved it from rank 4 to 1" in text
    assert page.locator("#history .title").inner_text() == "F-bare"
    remove = page.locator("#history button", has_text="✕")
    assert "F-bare" in remove.get_attribute("aria-label")


def test_words_that_the_encoder_cannot_read_are_told(
    visit: Callable[..., Console], url: str
) -> None:
    ready(url)
    console = visit()
    page = console.open()
    plain = console.settled()
    page.fill("#wish", "海边的安静故事")
    wished = console.settled()
    assert wished["items"] == plain["items"]
    assert "has not learnt to read Chinese characters" in page.locator("#answer").inner_text()
    assert page.get_by_role("button", name="Ask again").count() == 0
    page.select_option("#manner", "search")
    searched = console.settled()
    told = page.locator("#answer").inner_text()
    assert "not understood; what is liked in general" in told
    assert "baseline shows" not in told
    assert [i["item_id"] for i in searched["items"]] == [i["item_id"] for i in plain["items"]]


def test_what_the_service_says_is_told_in_chinese(visit: Callable[..., Console], url: str) -> None:
    ready(url)
    strange: dict[str, Any] = {"target": "films", "kind": "view", "user_id": "nobody", "k": 3}
    strange |= {"history": [{"domain": "books", "item_id": "no"}], "wish": "海边; 故事"}
    searched = {"target": ["films", "books"], "text": "on 3; in “peace”"}
    limits = {"categories": ["Films"], "brands": ["A; B"], "price_min": 1, "price_max": 200}
    known = {"history": [{"domain": "books", "item_id": "B00001"}]}
    notes, heard = [], []
    for path, body in (
        ("/recommend", {**strange, "filters": {"brands": ["Nobody"]}}),
        ("/search", searched),
        ("/search", {**searched, **known, "filters": limits}),
        ("/search", {**searched, **known, "text": "海"}),
        ("/search", {**searched, "text": "海"}),
    ):
        answer = httpx.post(f"{url}{path}", json=body, timeout=30).json()
        notes += answer["notes"]
        heard += [answer["understood"]] if "understood" in answer else []
    notes += ["the wish was not used: the text encoder is still being loaded"]
    notes += ["the model took longer than 2 s; the baseline popularity answered"]
    assert len({*notes}) == 7
    page = visit().open()
    tell = """async ([notes, heard]) => {
      const told = await import("/console/told.js");
      return [notes.map(told.note), heard.map(told.heard)];
    }"""
    assert page.evaluate(tell, [notes, heard]) == [notes, heard]  # English is what it says
    page.click("text=中文")
    said, understood = page.evaluate(tell, [notes, heard])
    assert all(re.match("[\u4e00-\u9fff]|popularity|blend|[a-z_]+ 不", text) for text in said), said
    assert (
        understood[0] == "在 films and books 中找“on 3; in “peace””; 只按这些话，因为对此人一无所知"
    )
    assert understood[1].split("; ", 2)[2].startswith("口味占 30%; 只限 Films; ")
    assert understood[1].endswith("价格不低于 1; 价格不高于 200")
    assert understood[2].endswith("; 未能理解; 只按口味")
    assert understood[3].endswith("; 未能理解; 大家普遍喜欢的")


def test_chinese_stays_chosen(visit: Callable[..., Console]) -> None:
    console = visit()
    page = console.open()
    page.click("text=中文")
    assert page.locator("nav a").all_inner_texts() == ["推荐", "用户", "评测", "发布"]
    assert page.get_attribute("html", "lang") == "zh-Hans"
    assert page.locator("#answer .state").inner_text() == "尚无所知"
    page.reload()
    page.locator("#items li").first.wait_for()
    assert page.title() == "BridgeRec 控制台"
    page.click("text=评测")
    page.locator("h2", has_text="排行榜").wait_for()
    page.click("text=EN")
    page.locator("h2", has_text="Leaderboard").wait_for()


def test_both_languages_say_the_same_things(visit: Callable[..., Console]) -> None:
    page = visit().open()
    found = page.evaluate(
        """async () => {
          const { english } = await import("/console/english.js");
          const { chinese } = await import("/console/chinese.js");
          const holes = (text) => [...text.matchAll(/\\{\\w+\\}/g)].map(String).sort().join();
          const used = [...document.querySelectorAll("[data-t], [data-t-label], [data-t-hint]")]
            .flatMap((e) => [e.dataset.t, e.dataset.tLabel, e.dataset.tHint]).filter(Boolean);
          return {
            english: Object.keys(english).sort(), chinese: Object.keys(chinese).sort(), used,
            uneven: Object.keys(english).filter((k) => holes(english[k]) !== holes(chinese[k])),
          };
        }"""
    )
    assert found["english"] == found["chinese"]
    assert set(found["used"]) <= set(found["english"])
    assert found["uneven"] == []


@pytest.mark.parametrize(
    ("status", "code", "english", "chinese"),
    [
        (422, "refused", "The service refused this request.", "服务拒绝了此请求。"),
        (503, "state", "The place for events", "无法访问保存事件和新物品的存储。"),
        (429, "rate_limited", "This key asks too often", "此密钥提问过于频繁"),
        (418, "of_tomorrow", "k is a teapot", "k is a teapot"),
    ],
)
def test_a_refusal_is_told_in_the_readers_language(
    visit: Callable[..., Console], status: int, code: str, english: str, chinese: str
) -> None:
    console = visit(expected=("/recommend",))
    page = console.open()
    console.settled()
    problem = {"error": code, "message": "k is a teapot", "remedy": "Pour.", "request_id": "r-9"}
    page.route("**/recommend", lambda route: route.fulfill(status=status, json=problem))
    page.fill("#k", "4")
    trouble = page.locator("#answer .trouble")
    trouble.wait_for()
    for language, words in (("en", english), ("zh", chinese)):
        page.click(f"[data-language={language}]")
        page.locator(
            "#answer .trouble", has_text="请求" if language == "zh" else "Request"
        ).wait_for()
        page.get_by_role("button", name="重试" if language == "zh" else "Try again").click()
        page.locator("#answer .trouble strong", has_text=words).wait_for()
        for own in ("k is a teapot", "Pour.", "r-9"):  # what the service says is there, too
            assert own in trouble.inner_text()


def test_what_was_found_is_read_out(visit: Callable[..., Console]) -> None:
    page = visit().open()
    said = page.locator("#item-list + [role=status]")
    assert said.inner_text() == ""
    page.fill("#item-input", "the")
    page.locator("#item-list li button").first.wait_for()
    n = page.locator("#item-list li button").count()
    assert said.inner_text() == f"{n} found. Arrow keys walk through them."
    page.fill("#item-input", "no such title at all")
    page.locator("#item-list .empty").wait_for()
    assert said.inner_text() == "Nothing found."
    page.keyboard.press("Escape")
    assert said.inner_text() == ""


def test_evidence_has_a_bar_for_each_candidate(
    visit: Callable[..., Console], finished: Workspace
) -> None:
    evaluation = read_json(find_bundle(finished.bento) / "evaluation.json")
    split, targets = next(iter(evaluation["test"].items()))
    target, candidates = next(iter(targets.items()))
    console = visit()
    page = console.open("evidence")
    bars = page.locator("figure", has=page.locator(".mark")).first
    bars.locator(".mark").first.wait_for()
    for metric in ("ndcg@10", "recall@10"):
        page.get_by_label("Metric").select_option(metric)
        expected = sorted((c["all"][metric]["value"] for c in candidates.values()), reverse=True)
        assert bars.locator(".mark").count() == len(candidates)
        assert bars.locator(".whisker").count() == len(candidates)
        assert bars.locator(".value").all_text_contents() == [f"{v:.4f}" for v in expected]
        widths = [float(w.get_attribute("width")) for w in bars.locator(".mark").all()]
        assert widths == sorted(widths, reverse=True)
        assert widths[-1] < widths[0]
    assert page.locator(".mark.best").count() == 1
    others = len(candidates) - 1
    assert page.locator("figure .ahead, figure .behind, figure .unsure").count() == others
    segment = next(s for s in candidates["popularity"] if s != "all")
    page.get_by_label("Segment").select_option(segment)
    best = max(c[segment]["recall@10"]["value"] for c in candidates.values())
    assert bars.locator(".value").first.text_content() == f"{best:.4f}"
    assert evaluation["splits"][split]["hash"] in page.locator("#charts").inner_text()
    verdict = page.locator("p", has_text="released here").inner_text()
    found = re.fullmatch(r"NDCG@10 of (\w+), released here: (.+)\.", verdict)
    assert found is not None
    told = (split, target, found[1])
    rows = evaluation["comparisons"]
    ahead = sum((r["split"], r["target"], r["candidate"]) == told and r["low"] > 0 for r in rows)
    assert (f"ahead of {ahead} of the {others} others" in found[2]) == (ahead > 0)
    assert " 0 of" not in verdict
    bars.locator("summary").click()
    assert bars.locator("tbody tr").count() == len(candidates)
    assert target in page.get_by_label("People and target").locator("option:checked").inner_text()


def test_every_view_begins_at_its_top(visit: Callable[..., Console]) -> None:
    console = visit(viewport={"width": 1000, "height": 500})
    page = console.open()
    for _ in range(2):  # the second time nothing has to be loaded
        for view in VIEWS:
            page.locator(f"nav a[href='#{view}']").click()
            page.locator(f"#view-{view}").wait_for()
            page.wait_for_timeout(300)
            assert page.evaluate("scrollY") == 0
            page.evaluate("scrollTo(0, 10_000)")
    assert page.evaluate("VIEWS => VIEWS.filter((v) => document.getElementById(v))", [*VIEWS]) == []


def test_the_release_shows_every_hash(visit: Callable[..., Console], finished: Workspace) -> None:
    dossier = read_json(find_bundle(finished.bento) / "dossier.json")
    page = visit().open("release")
    chain = page.locator(".chain")
    chain.wait_for()
    champion = dossier["champion"]
    for part in (dossier["data_hash"], dossier["release"], champion["models_sha256"]):
        assert part in chain.inner_text()
    page.locator(".tree summary", has_text="versions").click()
    assert dossier["versions"]["torch"] in page.locator(".tree").first.inner_text()
    assert page.locator("#canary h2").inner_text() == "A second release"


def test_a_second_release_is_tried_shadowed_and_rolled_back(
    browser: Any, finished: Workspace, tmp_path: Path
) -> None:
    """By clicks, in a service of its own; each step is compared with what the service does."""
    second = Path(shutil.copytree(finished.bento, tmp_path / "second"))
    manifest = find_bundle(second) / "manifest.json"
    write_json(manifest, {**read_json(manifest), "release": "second"})
    with running(finished.bento, canary=tmp_path / "canary.json", timeout=180) as at:
        main = httpx.get(f"{at}/health").json()["release"]
        console = Console(browser, at, expected=("/admin/canary",))
        page = console.open("release")
        panel = page.locator("#canary")
        state = panel.locator(".state")

        def status() -> dict[str, Any]:
            found: dict[str, Any] = httpx.get(f"{at}/admin/canary").json()
            return found

        def who() -> set[str]:
            """Who answers ten people."""
            asked = [{"target": "films", "user_id": f"person-{n}"} for n in range(10)]
            answers = [httpx.post(f"{at}/recommend", json=body, timeout=30) for body in asked]
            return {answer.json()["release"] for answer in answers}

        page.wait_for_function("document.querySelector('#canary .state')?.textContent === 'none'")
        assert main in panel.inner_text()
        panel.get_by_label("Its Bento, on the server").fill(str(tmp_path / "nowhere"))
        panel.get_by_role("button", name="Begin").click()
        panel.locator(".trouble", has_text="holds no Bento").wait_for()
        assert status()["state"] == "none"

        panel.get_by_label("Its Bento, on the server").fill(str(second))
        share = panel.get_by_label("Share of people")
        share.fill("50")
        assert "50 %" in panel.locator("form").inner_text()
        panel.get_by_role("button", name="Begin").click()
        state.get_by_text("on", exact=True).wait_for(timeout=90_000)
        assert panel.locator(".trouble").count() == 0
        assert (status()["plan"]["weight"], status()["plan"]["mode"]) == (0.5, "canary")
        assert who() == {main, "second"}

        share.press("End")  # by keys as well
        panel.get_by_role("button", name="Change").click()
        panel.get_by_text("100 % · canary").wait_for()
        assert who() == {"second"}
        panel.get_by_label("As").select_option("shadow")
        panel.get_by_role("button", name="Change").click()
        panel.get_by_text("100 % · shadow").wait_for()
        assert who() == {main}
        page.reload()  # and what was counted is shown
        assert status()["answered"] >= 10
        panel.get_by_text(f"{status()['answered']} as canary").wait_for()

        panel.get_by_role("button", name="Roll back").click()
        page.click("#confirm-dialog >> text=Cancel")
        assert status()["state"] == "on"
        panel.get_by_role("button", name="Roll back").click()
        page.click("#confirm-yes")
        state.get_by_text("none", exact=True).wait_for()
        assert status()["plan"] is None
        assert who() == {main}
        console.close()


def test_either_release_is_asked_or_both_side_by_side(
    browser: Any, finished: Workspace, tmp_path: Path
) -> None:
    """By who may: the second release answers by popularity alone, and is on trial with nobody."""
    second = Path(shutil.copytree(finished.bento, tmp_path / "second"))
    path = find_bundle(second) / "manifest.json"
    manifest = {**read_json(path), "release": "second"}
    manifest["champion"]["routes"] = dict.fromkeys(manifest["champion"]["routes"], "popularity")
    write_json(path, manifest)
    control, keys = tmp_path / "canary.json", tmp_path / "keys.json"
    admin, reader = (add_key(keys, role, (role,), rate=1000) for role in ("admin", "reader"))
    given = {"canary": control, "keys": keys, "timeout": 180}
    with running(finished.bento, **given) as at:
        main = httpx.get(f"{at}/health").json()["release"]
        before = Console(browser, at, key=admin)
        assert before.open().locator("#which").is_hidden()  # there is nothing to choose
        before.close()
        write_plan(control, Plan(bento=str(second), weight=0))
        console = Console(browser, at, expected=("/recommend",), key=admin)
        page = console.open()
        for place in range(2):
            add(page, "books", place)
        live = console.settled()
        assert live["release"] == main
        which = page.get_by_label("Release that answers")
        which.wait_for()  # the page follows the loading
        texts = which.locator("option").all_inner_texts()
        assert texts == ["as for everybody", f"{main} · live", "second · on trial"]
        which.select_option("second")
        tried = console.settled()
        assert console.questions()[-1][1]["release"] == "second"
        assert (tried["release"], tried["candidate"]) == ("second", "popularity")
        assert tried["items"] != live["items"]
        assert "second" in page.locator("#answer").inner_text()

        def other() -> list[str]:
            shown: list[str] = page.eval_on_selector_all(
                "#items-beside li[data-item]", "found => found.map(e => e.dataset.item)"
            )
            return shown

        def ids(answer: dict[str, Any]) -> list[str]:
            return [f"{item['domain']}/{item['item_id']}" for item in answer["items"]]

        tab_to(page, "#which-beside")  # by keys alone
        page.keyboard.press("ArrowDown")
        page.locator("#items-beside li").first.wait_for()
        assert (console.shown(), other()) == (ids(tried), ids(live))
        assert main in page.locator("#answer-beside").inner_text()
        same = f"{len({*ids(tried)} & {*ids(live)})} of these 10 items are in both lists."
        assert same in page.locator("#answer-beside").inner_text()
        said = page.locator("#said").inner_text()
        assert said.endswith(f"Beside them those of release {main}. {same}")
        named = page.get_by_role("list", name=f"Recommendations of release {main}")
        assert named.locator("li").count() == 10
        only = page.locator("#items-beside .moved.new")
        assert {*only.all_inner_texts()} <= {"only here"}
        assert only.count() == 10 - len({*ids(tried)} & {*ids(live)})
        which.select_option(main)  # what is beside cannot be the same release
        page.locator("#beside").wait_for(state="hidden")
        page.get_by_label("Beside it").select_option("second")
        page.locator("#items-beside li").first.wait_for()
        assert (console.shown(), other()) == (ids(live), ids(tried))

        page.click("text=中文")
        chosen = page.get_by_label("作答的发布").locator("option:checked")
        assert chosen.inner_text() == f"{main} · 线上"
        assert page.get_by_label("并排对照").locator("option").all_inner_texts() == [
            "无", "second · 试用中",
        ]  # fmt: skip
        page.click("text=EN")
        status = httpx.get(f"{at}/admin/canary", headers=console.headers).json()
        assert status["answered"] == 0
        httpx.delete(f"{at}/admin/canary", headers=console.headers)
        page.fill("#k", "4")  # the service no longer has the second one: the page sees it
        page.locator("#which").wait_for(state="hidden")
        assert ids(console.settled()) == ids(live)[:4]
        assert page.locator("#beside").is_hidden()
        assert "release" not in console.questions()[-1][1]
        console.close()

        write_plan(control, Plan(bento=str(second), weight=0))
        modest = Console(browser, at, expected=("/admin/canary",), key=reader)
        page = modest.open()
        page.click("text=Evidence")
        page.click("nav >> text=Recommend")
        modest.settled()
        assert page.locator("#which").is_hidden()
        assert sum(r.url.endswith("/admin/canary") for r in modest.asked) == 1
        modest.close()


def test_a_person_is_looked_up_recorded_and_forgotten(
    visit: Callable[..., Console], url: str
) -> None:
    user = httpx.get(f"{url}/users", params={"limit": 50}).json()["users"][17]
    before = httpx.get(f"{url}/users/{user}").json()
    console = visit()
    page = console.open()
    page.fill("#person-input", user)
    page.locator("#person-list button", has_text=user).first.click()
    assert page.locator("#person-chosen strong").inner_text() == user
    assert console.settled()["route"] in ("warm", "cold_start")
    added = add(page, "films", 4)
    page.get_by_role("button", name=f"Record as events of {user}").click()
    page.locator("#history li").first.wait_for(state="detached")
    stored = httpx.get(f"{url}/users/{user}").json()
    assert stored["stored"] == before["stored"] + 1

    page.click("text=What is known")
    page.locator("#person-page tbody tr").first.wait_for()
    assert page.locator("#person-page tbody tr").count() == len(stored["events"])
    assert added in page.locator("#person-page tbody tr", has_text="live").inner_text()
    page.click("text=Forget this person")
    page.click("#confirm-dialog >> text=Cancel")
    assert httpx.get(f"{url}/users/{user}").json()["known"]
    page.click("text=Forget this person")
    page.click("#confirm-yes")
    page.locator("#person-page", has_text="is forgotten").wait_for()
    assert not httpx.get(f"{url}/users/{user}").json()["known"]
    page.click("nav >> text=Recommend")
    assert console.settled()["route"] == "unknown"


def tab_to(page: Any, selector: str, most: int = 40) -> None:
    """Presses Tab until the focus is there; every stop on the way shows that it has it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => { const e = document.activeElement;
              const marked = e.matches(".chip input") ? e.nextElementSibling : e;
              return getComputedStyle(marked).outlineStyle !== "none"; }"""
        )
        assert seen, page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"{selector} was not reached by {most} tabs")


def test_the_keyboard_alone_is_enough(visit: Callable[..., Console]) -> None:
    console = visit()
    page = console.open()
    console.settled()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    tab_to(page, "#item-input")
    with page.expect_response(lambda answer: "query=a" in answer.url):
        page.keyboard.type("a")
    page.wait_for_timeout(300)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    title = page.evaluate("document.activeElement.querySelector('.grow').textContent")
    page.keyboard.press("Enter")
    assert console.history() == [title]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "item-input"
    assert page.locator("#item-list li").count() == 0
    tab_to(page, "[data-focus^=down-]:not(:disabled)")
    page.keyboard.press("Enter")
    assert console.history()[1] == title
    tab_to(page, "[data-focus^=remove-]")
    page.keyboard.press("Enter")
    assert len(console.history()) == 1
    focused = page.evaluate("document.activeElement.id || document.activeElement.dataset.focus")
    assert focused  # the focus did not fall back to the top
    tab_to(page, "#targets input[value=books]")
    page.keyboard.press("Space")
    assert "books" in console.settled()["target"]
    tab_to(page, "[data-focus^=add-]")
    page.keyboard.press("Enter")
    assert len(console.history()) == 2
    console.settled()
    assert "recommendations from" in page.locator("#said").inner_text()


def test_a_key_is_asked_for(visit: Callable[..., Console], url: str) -> None:
    with gate(url, "the-right-key") as at:
        console = visit(at, expected=(at,))
        page = console.page
        page.goto(at)
        page.locator("#key-dialog[open]").wait_for()
        assert "holders of a key" in page.locator("#key-why").inner_text()
        page.fill("#key", "a-wrong-key")
        page.keyboard.press("Enter")
        page.locator("#key-why", has_text="does not accept").wait_for()
        page.fill("#key", "the-right-key")
        page.click("text=Use this key")
        page.locator("#items li").first.wait_for()
        assert len(console.shown()) == 10
        assert page.evaluate("Object.values(sessionStorage)") == ["the-right-key"]
        assert "the-right-key" not in page.evaluate("JSON.stringify(localStorage)")
        page.reload()
        page.locator("#items li").first.wait_for()
        page.click("#key-button")
        page.click("text=Forget the key")
        page.reload()
        page.locator("#key-dialog[open]").wait_for()
        page.keyboard.press("Escape")
        assert "no" in page.locator("#answer .trouble").inner_text()


def test_a_lost_connection_is_told_and_can_be_tried_again(visit: Callable[..., Console]) -> None:
    console = visit(expected=("/recommend",))
    page = console.open()
    console.settled()
    console.context.set_offline(True)
    page.fill("#k", "4")
    page.locator("#answer .trouble", has_text="cannot be reached").wait_for()
    assert page.locator("#items li").count() == 0
    console.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.locator("#items li").first.wait_for()
    assert len(console.settled()["items"]) == 4


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    visit: Callable[..., Console], language: str
) -> None:
    console = visit(viewport={"width": 390, "height": 844})
    page = console.open()
    page.click(f"[data-language={language}]")
    for view in VIEWS:
        console.open(view)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view


# foreground and background, as named in base.css; WCAG AA wants 4.5
PAIRS = [
    ("ink", "paper"), ("ink", "ground"), ("ink", "raised"), ("ink", "tint"), ("soft", "paper"),
    ("soft", "ground"), ("soft", "raised"), ("accent", "paper"), ("accent", "tint"),
    ("on-accent", "accent"), ("good", "good-tint"), ("warn", "warn-tint"), ("bad", "bad-tint"),
    ("bad", "paper"), *((f"d{n}", "paper") for n in range(6)),
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(visit: Callable[..., Console], scheme: str) -> None:
    page = visit(color_scheme=scheme).open()

    def luminance(name: str) -> float:
        text = page.evaluate(
            "n => getComputedStyle(document.documentElement).getPropertyValue(n)", f"--{name}"
        ).strip()
        channels = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])

    poor = {}
    for front, back in PAIRS:
        dark, light = sorted((luminance(front), luminance(back)))
        if (light + 0.05) / (dark + 0.05) < 4.5:
            poor[front, back] = round((light + 0.05) / (dark + 0.05), 2)
    assert not poor


def test_files_are_guarded_and_cached(url: str) -> None:
    page = httpx.get(url)
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in page.text
    assert "style=" not in page.text
    script = httpx.get(f"{url}/console/app.js")
    assert script.headers["content-type"].startswith("text/javascript")
    again = httpx.get(f"{url}/console/app.js", headers={"if-none-match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{url}/console/..%2Fservice.py").status_code == 404
    assert httpx.get(f"{url}/console/none.js").status_code == 404


def test_the_sources_stay_small() -> None:
    folder = Path(__file__).parents[2] / "src" / "bridgerec" / "serving" / "console"
    sizes = {f.name: len(f.read_text(encoding="utf-8").splitlines()) for f in folder.iterdir()}
    assert max(sizes.values()) <= 200, sizes
    assert sum(f.stat().st_size for f in folder.iterdir()) < 150_000


def test_the_release_carries_the_figures_of_the_evaluation(finished: Workspace) -> None:
    carried = read_json(find_bundle(finished.bento) / "evaluation.json")
    folder = finished.reports / "evaluation"
    metrics = read_json(folder / "metrics.json")
    for split, candidates in metrics["test"].items():
        for candidate, targets in candidates.items():
            for target, segments in targets.items():
                found = carried["test"][split][target][candidate]
                assert found.keys() == segments.keys()
                for segment, values in segments.items():
                    for name in ("value", "low", "high"):
                        exact = values["ndcg@10"][name]
                        assert found[segment]["ndcg@10"][name] == pytest.approx(exact, abs=1e-5)
    released = set(carried["released"].values())
    rows = [r for r in read_json(folder / "comparisons.json") if r["candidate"] in released]
    assert len(carried["comparisons"]) == len(rows) > 0
    assert carried["comparisons"][0]["mean"] == pytest.approx(rows[0]["mean"], abs=1e-5)
