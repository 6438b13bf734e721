"""A second release: who gets it, what happens when it fails, and how it ends."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from bridgerec.errors import ArtifactError, BridgeRecError, ConfigError
from bridgerec.runtime import write_json
from bridgerec.serving.canary import Plan, Releases, canary_routes, read_plan, write_plan
from bridgerec.serving.problems import NotFound, Unavailable
from bridgerec.serving.switch import follow
from bridgerec.serving.traffic import TrafficLog

PEOPLE = [f"u{n}" for n in range(4000)]


@dataclass
class Model:
    """A release that tells who it is, or fails."""

    release: str
    broken: bool = False
    gate: threading.Event = field(default_factory=threading.Event)
    asked: list[Any] = field(default_factory=list)

    def recommend(self, request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self.broken:
            raise RuntimeError("defect")
        if request == "refused":
            raise ConfigError("the request is wrong")
        items = [{"domain": "films", "item_id": "a", "rank": 1, "score": 1.0}]
        about = {"request_id": "r", "release": self.release, "target": ["films"]}
        about |= {"route": "warm", "routes": {"films": "warm"}}
        return {**about, "items": items}


def bento(folder: Path) -> Path:
    """A folder that looks like a Bento from outside."""
    (folder / "src" / "bundle").mkdir(parents=True)
    (folder / "bento.yaml").write_text("name: x\n")
    return folder


class World:
    """A control file, two Bentos on disk, and what they load as."""

    def __init__(self, folder: Path) -> None:
        self.control = folder / "state" / "canary.json"
        self.main = Model("main")
        self.loaded: dict[str, Model] = {}
        self.bentos = {name: bento(folder / name) for name in ("b", "c")}
        self.releases: Releases[Model] = Releases(self.main, self.load, self.control)

    def load(self, bundle: Path) -> Model:
        name = bundle.parents[1].name
        if name not in self.loaded:
            raise ArtifactError(f"{bundle} holds no readable bundle.")
        self.loaded[name].gate.wait(5)
        return self.loaded[name]

    def second(self, name: str, **options: Any) -> Model:
        model = Model(name, **options)
        model.gate.set()
        self.loaded[name] = model
        return model

    def packaged(self, name: str, release: str) -> Model:
        """Another release in the same folder."""
        write_json(self.bentos[name] / "src" / "bundle" / "manifest.json", {"release": release})
        model = self.second(name)
        model.release = release
        return model

    def plan(self, name: str, weight: float = 1, **more: Any) -> None:
        given = {"bento": str(self.bentos[name]), "weight": weight, **more}
        write_plan(self.control, Plan.model_validate(given))
        self.settle()

    def settle(self) -> None:
        for follower in (self.releases.move, self.releases.follower):
            follower.look(now=True)
            assert follower.wait(5)

    def ask(self, person: str = "u1", request: Any = "q") -> str:
        found = self.releases.ask(person, lambda r: r.recommend(request))
        return str(found["release"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def eventually(true: Callable[[], bool], seconds: float = 5) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_the_share_is_sticky_and_grows(world: World) -> None:
    assert {world.ask(p) for p in PEOPLE[:50]} == {"main"}
    world.second("b")
    world.plan("b", 0.1, salt="s")
    chosen = {p for p in PEOPLE if world.ask(p) == "b"}
    assert abs(len(chosen) / len(PEOPLE) - 0.1) < 0.02  # 4 standard deviations
    assert {p for p in PEOPLE if world.ask(p) == "b"} == chosen
    world.plan("b", 0.3, salt="s")
    wider = {p for p in PEOPLE if world.ask(p) == "b"}
    assert chosen < wider
    world.plan("b", 0.1, salt="t")
    others = {p for p in PEOPLE if world.ask(p) == "b"}
    assert len(others & chosen) / len(chosen) < 0.25  # independent: 0.1
    world.plan("b", 0)
    assert {world.ask(p) for p in PEOPLE[:200]} == {"main"}
    world.plan("b", 1)
    assert {world.ask(p) for p in PEOPLE[:200]} == {"b"}


def test_deleting_the_file_rolls_back(world: World) -> None:
    world.second("b")
    world.second("c")
    world.plan("b")
    assert world.ask() == "b"
    world.plan("c")
    assert world.ask() == "c"
    world.control.unlink()
    eventually(lambda: world.ask() == "main", 2)  # without being told to look
    assert world.releases.status()["state"] == "none"


def test_loading_holds_up_nobody_and_a_newer_plan_wins(world: World) -> None:
    slow = world.second("b")
    slow.gate.clear()
    world.second("c")
    given = {"bento": str(world.bentos["b"]), "weight": 1}
    write_plan(world.control, Plan.model_validate(given))
    begun = time.monotonic()
    world.releases.follower.look(now=True)
    assert world.ask() == "main"
    assert time.monotonic() - begun < 1
    assert world.releases.status()["state"] == "loading"
    late = world.releases.follower.trial.loading
    world.plan("c")
    assert world.ask() == "c"
    slow.gate.set()
    assert late is not None
    late.join(5)
    assert world.ask() == "c"


def test_what_cannot_be_loaded_is_told_and_main_goes_on(world: World, tmp_path: Path) -> None:
    world.plan("b")  # there is a folder, but nothing loads from it
    assert world.ask() == "main"
    status = world.releases.status()
    assert status["state"] == "refused"
    assert "no readable bundle" in status["reason"]
    for text in (
        "{",
        '{"bento": "x"}',
        '{"bento": "x", "weight": 2}',
        '{"bento": "x", "weight": NaN}',
    ):
        world.control.write_text(text)
        world.settle()
        assert world.ask() == "main"
        assert "roll back" in world.releases.status()["reason"]
    world.second("b")
    world.plan("b")
    assert world.ask() == "b"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plan(tmp_path / "absent.json")


def test_errors_fall_back_to_main_and_switch_off(world: World) -> None:
    second = world.second("b", broken=True)
    world.plan("b")
    other_worker: Releases[Model] = Releases(world.main, world.load, world.control)
    other_worker.choose("u1")  # it looks, and loads
    assert other_worker.follower.wait(5)
    assert other_worker.choose("u1") is second
    for _ in range(4):
        assert world.ask() == "main"
    second.broken = False
    assert world.ask() == "b"  # one success: the row begins anew
    second.broken = True
    for _ in range(4):
        assert world.ask() == "main"
    assert world.releases.status()["state"] == "on"
    assert world.ask() == "main"
    status = world.releases.status()
    assert (status["state"], status["errors"], status["answered"]) == ("off", 9, 1)
    assert "5 errors in a row, the last one a RuntimeError" in status["reason"]
    before = len(second.asked)
    assert world.ask() == "main"
    assert len(second.asked) == before
    eventually(lambda: other_worker.choose("u1") is world.main, 2)
    assert other_worker.status()["state"] == "off"
    second.broken = False
    plan = read_plan(world.control).model_copy(update={"off": None})
    write_plan(world.control, plan)
    world.settle()
    assert world.ask() == "b"


def test_a_wrong_request_is_not_the_second_releases_fault(world: World) -> None:
    world.second("b")
    world.plan("b")
    for _ in range(10):
        with pytest.raises(ConfigError, match="the request is wrong"):
            world.ask(request="refused")
    status = world.releases.status()
    assert (status["state"], status["errors"]) == ("on", 0)


def test_everybody_goes_over_and_a_trial_then_ends_there(world: World) -> None:
    world.second("b")
    world.second("c")
    follow(world.control, world.bentos["b"])
    world.settle()
    assert {world.ask(p) for p in PEOPLE[:50]} == {"b"}
    assert world.releases.main.release == "b"
    world.plan("c", 0.5)
    assert {world.ask(p) for p in PEOPLE[:50]} == {"b", "c"}
    assert {release.release for release in world.releases.loaded()} == {"main", "b", "c"}
    world.control.unlink()
    world.settle()
    assert {world.ask(p) for p in PEOPLE[:50]} == {"b"}
    world.plan("c")
    world.loaded["c"].broken = True
    assert world.ask() == "b"  # and not the release that the service began with
    follow(world.control, world.bentos["c"])  # ends the trial
    world.loaded["c"].broken = False
    world.settle()
    assert world.releases.status()["state"] == "none"
    assert world.ask() == "c"


def test_a_release_that_cannot_be_gone_over_to_changes_nothing(world: World) -> None:
    follow(world.control, world.bentos["b"])
    world.settle()
    status = world.releases.status()
    assert (status["main"], status["move"]) == ("main", "refused")
    assert "no readable bundle" in status["move_reason"]
    assert world.ask() == "main"


def test_a_release_is_asked_by_its_name(world: World) -> None:
    slow = world.second("b", broken=True)
    slow.gate.clear()
    given = {"bento": str(world.bentos["b"]), "weight": 1}
    write_plan(world.control, Plan.model_validate(given))
    with pytest.raises(Unavailable, match="still being loaded here; it may be 'b'") as told:
        world.releases.named("b")  # it looks at once, and begins to load
    assert told.value.retry_after == 2
    assert world.releases.named("main") is world.main
    slow.gate.set()
    world.settle()
    for _ in range(6):
        with pytest.raises(RuntimeError):
            world.releases.named("b").recommend("q")
    status = world.releases.status()
    assert (status["state"], status["errors"], status["loaded"]) == ("on", 0, ["main", "b"])
    follow(world.control, world.bentos["b"])
    world.settle()
    assert world.releases.main is slow
    assert world.releases.named("main") is world.main  # the one before is still there
    with pytest.raises(NotFound, match=r"no release 'c' is loaded here; loaded are \['main', 'b'"):
        world.releases.named("c")


def test_a_main_release_that_fails_is_left_again(world: World) -> None:
    second = world.second("b", broken=True)
    follow(world.control, world.bentos["b"])
    world.settle()
    for _ in range(5):
        assert world.ask() == "main"
    status = world.releases.status()
    assert (status["main"], status["move"]) == ("main", "off")
    assert "5 errors in a row" in status["move_reason"]
    assert len(second.asked) == 5


def test_what_main_refuses_is_not_asked_of_an_older_release(world: World) -> None:
    world.second("b")
    follow(world.control, world.bentos["b"])
    world.settle()
    for _ in range(6):
        with pytest.raises(ConfigError, match="the request is wrong"):
            world.ask(request="refused")
    assert "refused" not in world.main.asked
    assert world.releases.status()["move"] == "on"


def test_awaited_calls_and_hanging_ones(world: World) -> None:
    world.second("b")
    world.plan("b")

    async def hang(release: Model) -> str:
        if release.release == "b":
            await asyncio.sleep(10)
        return release.release

    async def quick(release: Model) -> str:
        if release.broken:
            raise RuntimeError
        return release.release

    async def run() -> None:
        assert await world.releases.ask_async("u1", quick) == "b"
        world.loaded["b"].broken = True
        assert await world.releases.ask_async("u1", quick) == "main"
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(world.releases.ask_async("u1", hang), 0.02)
        assert world.releases.status()["state"] == "off"
        assert await asyncio.wait_for(world.releases.ask_async("u1", hang), 5) == "main"

    asyncio.run(run())


def test_the_shadow_answers_nobody(world: World, tmp_path: Path) -> None:
    log = TrafficLog(tmp_path / "traffic")
    second = world.second("b")
    world.releases.shadow.shadowed = lambda answer: log.add(answer, 1, [], shadow=True)
    world.plan("b", mode="shadow")
    assert {world.ask(request=n) for n in range(20)} == {"main"}
    eventually(lambda: world.releases.status()["shadow_answers"] == 20)
    assert second.asked == list(range(20))
    log.add(world.main.recommend("q"), 1, [])
    log.close()
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [(x["release"], x.get("shadow")) for x in lines] == [("b", True)] * 20 + [("main", None)]
    second.broken = True
    world.ask()
    eventually(lambda: world.releases.status()["shadow_errors"] == 1)


def test_an_awaited_shadow_waits_its_turn(world: World) -> None:
    second = world.second("b")
    shadowed: list[Any] = []
    world.releases.shadow.shadowed = shadowed.append
    world.plan("b", mode="shadow")

    async def slow(release: Model) -> dict[str, Any]:
        if release is second:
            await asyncio.sleep(0.001)
        return release.recommend("q")

    async def settled(count: int) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                status = world.releases.status()
                if status["shadow_answers"] + status["shadow_errors"] == count:
                    return status
                await asyncio.sleep(0.005)

    async def run() -> None:
        who = [(await world.releases.ask_async(p, slow))["release"] for p in PEOPLE[:30]]
        assert {*who} == {"main"}
        assert (await settled(30))["shadow_answers"] == len(shadowed) == 30
        assert {answer["release"] for answer in shadowed} == {"b"}
        second.broken = True
        for _ in range(150):
            world.releases.shadow.put_async(lambda: slow(second))
        status = await settled(130)
        assert (status["shadow_errors"], status["shadow_dropped"]) == (100, 50)

    asyncio.run(run())


def test_a_slow_shadow_is_dropped_not_waited_for(world: World) -> None:
    second = world.second("b")
    stuck = threading.Event()
    recommend = second.recommend

    def wait(request: Any) -> dict[str, Any]:
        stuck.wait(10)
        return recommend(request)

    second.recommend = wait
    world.plan("b", mode="shadow")
    begun = time.monotonic()
    for _ in range(300):
        assert world.ask() == "main"
    assert time.monotonic() - begun < 3
    stuck.set()
    dropped = world.releases.status()["shadow_dropped"]
    assert dropped >= 199  # 300 asked, 100 queued, one being answered
    eventually(lambda: world.releases.status()["shadow_answers"] == 300 - dropped)


Call = Callable[..., httpx.Response]


@pytest.fixture
def call(world: World) -> Call:
    """`call(method, **body)` asks /admin/canary."""
    app = FastAPI()
    app.include_router(canary_routes(lambda: world.releases))

    @app.exception_handler(BridgeRecError)
    async def refused(_: Request, error: BridgeRecError) -> JSONResponse:
        return JSONResponse({"message": str(error)}, 422)

    def asked(method: str, **body: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(method, "/admin/canary", json=body or None)

        return asyncio.run(once())

    return asked


def test_over_http(world: World, call: Call, tmp_path: Path) -> None:
    assert call("GET").json()["state"] == "none"
    missing = call("POST", bento=str(tmp_path / "nowhere"), weight=0.5)
    assert missing.status_code == 422
    assert "holds no Bento" in missing.json()["message"]
    assert not world.control.exists()
    unloadable = call("POST", bento=str(world.bentos["c"]), weight=0.5)
    assert unloadable.status_code == 422
    assert "no readable bundle" in unloadable.json()["message"]
    assert not world.control.exists()
    world.second("b")
    begun = call("POST", bento=str(world.bentos["b"]), weight=0.2)
    assert (begun.status_code, begun.json()["state"], begun.json()["second"]) == (200, "on", "b")
    salt = begun.json()["plan"]["salt"]
    wider = call("POST", bento=str(world.bentos["b"]), weight=1, mode="canary").json()
    assert (wider["plan"]["weight"], wider["plan"]["salt"]) == (1, salt)
    assert world.ask() == "b"
    again = call("POST", bento=str(world.bentos["c"]), weight=0.5)  # refused: the trial goes on
    assert again.status_code == 422
    world.settle()
    assert world.ask() == "b"
    for wrong in (
        {"bento": "x", "weight": 1.5},
        {"bento": "x"},
        {"bento": "\0", "weight": 1},
        {"bento": "x", "weight": 1, "mode": "both"},
        {"bento": "x", "weight": 1, "more": 1},
    ):
        assert call("POST", **wrong).status_code == 422
    assert call("DELETE").json()["state"] == "none"
    assert world.ask() == "main"
    assert call("DELETE").json()["state"] == "none"


def test_a_folder_that_is_packaged_again_is_another_trial(world: World, call: Call) -> None:
    folder = str(world.bentos["b"])
    first = world.packaged("b", "r2")
    begun = call("POST", bento=folder, weight=1).json()
    assert (begun["second"], begun["plan"]["release"]) == ("r2", "r2")
    second = world.packaged("b", "r3")
    world.settle()
    assert world.ask() == "r2"  # until somebody asks for it
    again = call("POST", bento=folder, weight=1).json()
    assert (again["second"], again["answered"], world.ask()) == ("r3", 0, "r3")
    assert again["plan"]["salt"] != begun["plan"]["salt"]  # other people are the first to try
    assert [len(first.asked), len(second.asked)] == [1, 1]
    follow(world.control, world.bentos["b"])
    world.settle()
    world.packaged("b", "r4")
    follow(world.control, world.bentos["b"])
    world.settle()
    assert world.releases.main.release == "r4"


def test_who_begins_late_does_not_try_another_release(world: World, call: Call) -> None:
    """A worker that is started again finds the folder packaged again meanwhile."""
    world.packaged("b", "r2")
    call("POST", bento=str(world.bentos["b"]), weight=1)
    world.packaged("b", "r3")
    late: Releases[Model] = Releases(world.main, world.load, world.control)
    late.follower.look()
    assert late.follower.wait(5)
    status = late.status()
    assert (status["state"], status["second"]) == ("refused", None)
    assert "holds release r3 by now, not r2" in status["reason"]
    assert late.choose("u1") is world.main


def test_a_trial_goes_on_where_the_next_one_is_refused(world: World, call: Call) -> None:
    folder, bundle = str(world.bentos["b"]), world.bentos["b"] / "src" / "bundle"
    first = world.packaged("b", "r2")
    assert call("POST", bento=folder, weight=1).status_code == 200
    (bundle / "manifest.json").unlink()
    del world.loaded["b"]  # what is there now cannot be loaded
    assert call("POST", bento=folder, weight=0.5).status_code == 422
    world.settle()
    assert world.releases.status()["second"] == "r2"
    assert world.ask() == "r2"
    assert first.asked == ["q"]


def test_without_a_control_file_there_is_no_second_release() -> None:
    releases: Releases[Model] = Releases(Model("main"), lambda _: Model("x"), None)
    assert releases.ask("u", lambda r: r.release) == "main"
    assert releases.status()["state"] == "none"
    app = FastAPI()
    app.include_router(canary_routes(lambda: releases))

    async def once() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            with pytest.raises(ConfigError, match="BRIDGEREC_CANARY"):
                await client.delete("/admin/canary")

    asyncio.run(once())
