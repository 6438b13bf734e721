"""What is broken, killed or full ends in a clear message, and the next run succeeds.

`docs/operations.md` has a row for each fault; the last test here compares.
"""

import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import polars as pl
import psutil
import pytest
import yaml
from safetensors.numpy import load_file

from bridgerec.config import Workspace
from bridgerec.data.vectors import read_vectors
from bridgerec.monitoring.report import monitor
from bridgerec.operations.control import down, status, up
from bridgerec.operations.state import Running
from bridgerec.registry.current import promote, read_current
from bridgerec.registry.store import Store
from bridgerec.runtime import DiskFull, file_hash, read_json
from bridgerec.serving.state import Event, StateError
from bridgerec.serving.state.sqlite import SqliteStore
from bridgerec.serving.traffic import TrafficLog
from faults_world import (
    Disk,
    bridgerec,
    disk,
    in_a_process,
    mounted,
    on_disk,
    small_finished,
    workspace,
)
from helpers import REPOSITORY, accept, dvc, small_world

__all__ = ["disk", "mounted", "on_disk", "small_finished", "workspace"]
pytestmark = pytest.mark.slow
VERDICT = {"allowed": True, "reasons": []}


def leftovers(root: Path) -> list[Path]:
    """Half-written files and folders, by the names that these get."""
    return [p for p in root.rglob(".*") if re.fullmatch(r"\.[\w.-]+\.[a-z0-9_]{8}", p.name)]


def cut(path: Path) -> None:
    """As a copy that was interrupted leaves it."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# a disk that is full


@pytest.mark.parametrize(
    ("stage", "out"),
    [
        ("prepare", "artifacts/prepared"),
        ("train ease_text", "artifacts/candidates/ease_text/temporal/seed-0"),
        ("evaluate", "reports/evaluation"),
        ("select", "artifacts/champion"),
        ("package", "artifacts/bento"),
    ],
)
def test_a_stage_on_a_full_disk(
    small_finished: Workspace, on_disk: Workspace, disk: Disk, stage: str, out: str
) -> None:
    run = in_a_process if stage == "package" else bridgerec  # BentoML keeps its first folder
    before = file_hash(on_disk.root / out)
    with disk.full():
        found = run(on_disk.root, "stage", *stage.split())
    assert found.code == DiskFull.exit_code, found.text
    assert "cannot be written: the disk is full" in found.text
    assert str(on_disk.root / "artifacts") in found.text or str(on_disk.reports) in found.text
    assert "Make room" in found.text
    assert "Traceback" not in found.text
    assert file_hash(on_disk.root / out) == before
    assert leftovers(on_disk.root) == []
    assert run(on_disk.root, "stage", *stage.split()).code == 0
    assert file_hash(on_disk.root / out) == file_hash(small_finished.root / out)


def test_the_embedding_cache_on_a_full_disk(on_disk: Workspace, disk: Disk) -> None:
    expected = read_vectors(on_disk, 60)
    shards = list(on_disk.embedding_cache.rglob("*.safetensors"))
    for shard in shards:
        shard.unlink()
    with disk.full():
        found = bridgerec(on_disk.root, "stage", "embed")
    assert found.code == DiskFull.exit_code, found.text
    assert f"{on_disk.embedding_cache}" in found.text
    assert leftovers(on_disk.root) == []
    assert bridgerec(on_disk.root, "stage", "embed").code == 0
    assert (read_vectors(on_disk, 60) == expected).all()
    assert sorted(on_disk.embedding_cache.rglob("*.safetensors")) == sorted(shards)


def test_the_release_store_on_a_full_disk(on_disk: Workspace, disk: Disk) -> None:
    store = Store.of(on_disk)
    with disk.full(), pytest.raises(DiskFull, match=r"releases/\w+ cannot be written"):
        store.keep(on_disk, VERDICT)
    assert store.all() == []
    assert leftovers(store.root) == []
    release = store.keep(on_disk, VERDICT)
    with disk.full(), pytest.raises(DiskFull, match=r"releases/current\.json cannot be written"):
        promote(store, release)
    assert read_current(store).release is None
    promote(store, release)
    with disk.full():
        found = bridgerec(on_disk.root, "releases", "pin", release.id)
    assert found.code == DiskFull.exit_code, found.text
    current = read_current(store)
    assert (current.release, current.pinned, len(current.history)) == (release.id, False, 1)
    assert leftovers(store.root) == []


def event(number: int) -> Event:
    return Event(f"e{number}", f"p{number % 3}", "right", f"r{number % 30:02}", 1_650_000_000)


def test_the_state_store_on_a_full_disk(disk: Disk) -> None:
    def add(numbers: range) -> int:
        return asyncio.run(store.add([event(n) for n in numbers]))

    store = SqliteStore(disk.folder / "state")
    assert add(range(10)) == 10
    with disk.full(), pytest.raises(StateError, match=r"state\.sqlite cannot be used.*space"):
        add(range(10, 5000))
    with disk.full(), pytest.raises(StateError, match=r"state\.sqlite"):
        add(range(10, 5000))
    assert {e.event_id for e in store.all_events()} == {f"e{n}" for n in range(10)}
    assert add(range(10, 5000)) == 4990  # who was refused sends it again
    store.close()
    again = SqliteStore(disk.folder / "state")
    assert len(list(again.all_events())) == 5000
    again.close()


def answer(number: int) -> dict[str, Any]:
    item = {"domain": "right", "item_id": "r01", "rank": 1, "score": 0.5}
    return {
        "request_id": str(number),
        "release": "r",
        "target": ["right"],
        "routes": {"right": "warm"},
        "items": [item],
    }


def test_the_traffic_log_on_a_full_disk(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    def add(numbers: range) -> None:
        for n in numbers:
            log.add(answer(n), 1, [["left", "l01"]] * 50)

    def until(done: Callable[[], bool]) -> None:
        while not done():
            pass

    log = TrafficLog(disk.folder / "traffic")
    add(range(10))
    until(lambda: log.path.is_file() and log.path.read_bytes().count(b"\n") == 10)
    with disk.full():
        add(range(10, 110))
        until(lambda: log.path.read_bytes().count(b"\n") + log.lost == 110)
        lost = log.lost
        assert lost > 90
    add(range(110, 120))
    log.close()
    lines = log.path.read_bytes().splitlines()
    numbers = [int(orjson.loads(line)["request_id"]) for line in lines]  # each is whole
    assert numbers[:10] == list(range(10))
    assert numbers[-10:] == list(range(110, 120))
    assert len(numbers) == 120 - lost
    said = capsys.readouterr().err
    assert said.count(f"{log.path} cannot be written (No space left") == 1 or not disk.mounted
    assert f"is written again; {lost} lines were lost" in said


def traffic(workspace: Workspace, requests: int) -> None:
    lines = []
    for n in range(requests):
        line = {"time": 1.7e9 + n, "request_id": str(n), "release": "r", "route": "warm"}
        history = [["left", f"l{n % 30:02}"], ["right", f"r{n // 30 * 7:02}"]]
        line |= {"target": "right", "k": 1, "history": history, "items": ["r00"], "scores": [1.0]}
        lines.append(orjson.dumps(line))
    workspace.traffic.mkdir()
    (workspace.traffic / "requests.1.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def test_monitoring_on_a_full_disk(on_disk: Workspace, disk: Disk) -> None:
    traffic(on_disk, 100)
    out = on_disk.reports / "monitoring"
    monitor(on_disk, out)
    before = file_hash(out)
    with disk.full():
        found = bridgerec(on_disk.root, "monitor")
    assert found.code == DiskFull.exit_code, found.text
    assert str(out) in found.text
    assert file_hash(out) == before  # the last run's pages
    assert leftovers(on_disk.root) == []
    assert bridgerec(on_disk.root, "monitor").code == 0
    assert pl.read_parquet(out / "history.parquet").height == 2


# files that are damaged


@pytest.mark.parametrize(
    ("file", "stage", "said", "remedy"),
    [
        ("artifacts/prepared/items.parquet", "evaluate", "is damaged", "prepare"),
        ("artifacts/prepared/interactions.parquet", "train popularity", "is damaged", "prepare"),
        ("artifacts/prepared/splits/temporal.parquet", "train popularity", "damaged", "prepare"),
        ("artifacts/prepared/splits.json", "train popularity", "is damaged", "prepare"),
        ("artifacts/vectors/vectors.safetensors", "train ease_text", "embed stage", "embed"),
        ("artifacts/candidates/ease_text/temporal/seed-0/model.safetensors", "evaluate",
         "train again", "train ease_text"),
        ("artifacts/candidates/ease_text/temporal/seed-0/model.json", "evaluate",
         "train again", "train ease_text"),
        ("reports/evaluation/per_user.parquet", "select", "is damaged", "evaluate"),
    ],
)  # fmt: skip
def test_a_truncated_output_of_a_stage(
    workspace: Workspace, file: str, stage: str, said: str, remedy: str
) -> None:
    whole = (workspace.root / file).read_bytes()
    cut(workspace.root / file)
    found = bridgerec(workspace.root, "stage", *stage.split())
    assert found.code == 4, found.text
    assert str((workspace.root / file).parent) in found.text
    assert said in found.text
    assert "Traceback" not in found.text
    for again in (remedy, stage):
        assert bridgerec(workspace.root, "stage", *again.split()).code == 0
    assert (workspace.root / file).read_bytes() == whole


@pytest.mark.filterwarnings("ignore:.*set aside")
def test_a_corrupted_embedding_cache(workspace: Workspace) -> None:
    expected = read_vectors(workspace, 60)
    [shard] = workspace.embedding_cache.rglob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-100] ^= 0xFF  # a bit that turned: the file is as long as before
    shard.write_bytes(content)
    assert bridgerec(workspace.root, "stage", "embed").code == 0
    assert (read_vectors(workspace, 60) == expected).all()
    assert shard.with_suffix(".damaged").read_bytes() == content
    assert len(load_file(shard)["vectors"]) == 60


def test_a_damaged_current_json(workspace: Workspace) -> None:
    store = Store.of(workspace)
    release = store.keep(workspace, VERDICT)
    promote(store, release)
    cut(store.root / "current.json")
    for words in (["releases"], ["releases", "pin", release.id], ["backfill"]):
        found = bridgerec(workspace.root, *words)
        assert found.code == 4, (words, found)
        assert f"{store.root / 'current.json'} is damaged" in found.text
        assert "releases promote ID" in found.text
    (store.root / "current.json").unlink()
    assert bridgerec(workspace.root, "releases", "promote", release.id).code == 0
    assert read_current(store).release == release.id


def test_a_damaged_record_of_what_was_taken_in(tmp_path: Path) -> None:
    found = small_world(tmp_path)
    dvc(tmp_path, "init", "-q", "--no-scm")
    (tmp_path / "expectations").symlink_to(REPOSITORY / "expectations")
    accept(found, [event(1)])
    dvc(tmp_path, "add", "-q", "data")
    assert bridgerec(tmp_path, "intake").code == 0
    after, record = file_hash(tmp_path / "data"), tmp_path / "data" / "taken.parquet"
    record.unlink()  # not through its link to DVC's cache
    record.write_bytes(b"PAR1 cut off")
    said = bridgerec(tmp_path, "intake")
    assert said.code == 3, said
    assert f"{record} is damaged" in said.text
    dvc(tmp_path, "checkout", "data.dvc", "--force")
    assert file_hash(tmp_path / "data") == after
    assert bridgerec(tmp_path, "intake").code == 0
    assert file_hash(tmp_path / "data") == after


# data that do not fit


HEAD = "user_id,item_id,timestamp,kind\n"
DROPS: dict[str, tuple[bytes, str]] = {
    "a column is missing": (
        b"user,item_id,timestamp,kind\nu01,l01,1600000000,view\n",
        "lacks the column(s) ['user_id']"),
    "times are words": (
        HEAD.encode() + b"".join(b"u%02d,l%02d,yesterday,view\n" % (n, n % 30) for n in range(60)),
        "timestamp"),
    "another encoding": (
        HEAD.encode() + "u01,l01,1600000000,gefällt\n".encode("cp1252") * 9, "is not UTF-8"),
    "sixteen bits": ((HEAD + "u01,l01,1600000000,view\n").encode("utf-16"), "is not UTF-8"),
    "no bytes": (b"", "interactions"),
    "a head alone": (HEAD.encode(), "interactions"),
    "another format": (b"PAR1" + bytes(range(256)) * 4, "interactions"),
    "rows of another length": (
        HEAD.encode() + b"u01,l01,1600000000,view,9,9,9\n" * 9, "interactions"),
}  # fmt: skip


def test_a_wrong_schema_data_drop(small_finished: Workspace, workspace: Workspace) -> None:
    table = workspace.root / "data" / "left" / "interactions.csv"
    whole, verdict = table.read_bytes(), workspace.reports / "validation" / "verdict.json"
    for drop, (content, said) in DROPS.items():
        table.write_bytes(content)
        found = bridgerec(workspace.root, "stage", "validate")
        assert found.code == 3, (drop, found)
        for word in ("critical problem", "left", said, "summary.html"):
            assert word in found.text, (drop, found)
        assert "Traceback" not in found.text
        assert not read_json(verdict)["passed"]
    table.write_bytes(whole)
    assert bridgerec(workspace.root, "stage", "validate").code == 0
    assert read_json(verdict)["passed"]
    assert file_hash(workspace.prepared) == file_hash(small_finished.prepared)


# kill -9


KEEPER = """
import os, shutil, signal, sys
from pathlib import Path
from bridgerec.config import Workspace
from bridgerec.registry import store as module
from bridgerec.registry.current import promote

left = {left}

def dying(inner):
    def call(*arguments, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments, **more)
    return call

os.replace, shutil.copy2 = dying(os.replace), dying(shutil.copy2)
workspace = Workspace.open({root!r})
store = module.Store.of(workspace)
promote(store, store.keep(workspace, {verdict!r}))
print("kept", left, flush=True)
"""


def test_keep_and_promote_killed_at_random_moments(workspace: Workspace) -> None:
    def run(left: int) -> subprocess.CompletedProcess[str]:
        code = KEEPER.format(left=left, root=str(workspace.root), verdict=VERDICT)
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    undisturbed = run(-1)
    calls = -1 - int(undisturbed.stdout.split()[1])
    store = Store.of(workspace)
    [release] = store.all()
    expected = file_hash(release.bento), file_hash(release.judged), release.read("decision")
    chance = random.Random(5)
    # among the last calls are the renames of the folder and of current.json
    for moment in (*chance.sample(range(1, calls - 2), 2), calls - 1, calls):
        shutil.rmtree(store.root)
        killed = run(moment)
        assert killed.returncode == -signal.SIGKILL, (moment, killed.stderr)
        assert read_current(store).release is None
        kept = store.all()
        assert len(kept) == (moment == calls)  # whole, or not there
        finished = run(-1)
        assert finished.returncode == 0, (moment, finished.stderr)
        [release] = store.all()
        assert (file_hash(release.bento), file_hash(release.judged), release.read("decision")) == (
            expected
        )
        assert read_current(store).release == release.id
        assert leftovers(store.root) == []


HOLDER = """
import sys, time
from pathlib import Path
import bridgerec.serving.launch as launch

if "starting" in sys.argv:  # killed while the server imports
    launch._wait = lambda *_: None
with launch.running(Path(sys.argv[1]), timeout=90):
    print(flush=True)
    time.sleep(99)
"""


@pytest.mark.parametrize(
    ("victim", "moment"), [("holder", "starting"), ("holder", "ready"), ("manager", "ready")]
)
def test_a_killed_smoke_test_takes_its_server_along(
    workspace: Workspace, tmp_path: Path, victim: str, moment: str
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(workspace.bento), moment],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline()
    started = psutil.Process(holder.pid).children(recursive=True)
    [manager] = [one for one in started if "bentoml" in one.cmdline()]
    workers = manager.children()
    assert bool(workers) == (moment == "ready")
    (manager if victim == "manager" else holder).kill()
    _, left = psutil.wait_procs(workers, timeout=20)
    assert left == []
    holder.kill()
    holder.communicate()
    _, left = psutil.wait_procs(started, timeout=30)
    assert left == []


def test_dvc_repro_killed_at_random_moments(kept_in_git: Path) -> None:
    outputs = ("embedded.txt", "trained-popularity.txt", "reports/evaluation/summary.json")

    def repro() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=kept_in_git,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    undisturbed = shutil.copytree(kept_in_git.parent, kept_in_git.parents[1] / "other") / "shop"
    begun = time.monotonic()
    dvc(undisturbed, "repro")
    took, chance = time.monotonic() - begun, random.Random(7)
    for share in (0.5, 0.8):
        process = repro()
        time.sleep(took * (share + 0.2 * chance.random()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    dvc(kept_in_git, "repro")
    for name in outputs:
        assert (kept_in_git / name).read_bytes() == (undisturbed / name).read_bytes()
    one, two = (yaml.safe_load((r / "dvc.lock").read_text()) for r in (kept_in_git, undisturbed))
    assert one == two
    assert "up to date" in dvc(kept_in_git, "status")


ANY = {"prefect": 0, "service": 0, "evidently": 0, "reports": 0}


def kill(part: Running) -> None:
    os.kill(part.pid, signal.SIGKILL)
    os.waitpid(part.pid, 0)  # nobody else is its parent here


@pytest.mark.long
def test_server_worker_and_service_killed_during_a_flow_run(workspace: Workspace) -> None:
    def states() -> dict[str, str]:
        return {row["part"]: row["state"] for row in status(workspace)["parts"]}

    def started(url: str) -> str:
        [found] = httpx.post(
            f"{url}/api/deployments/filter",
            json={"deployments": {"name": {"any_": ["training"]}}},
            timeout=60,
        ).json()
        wanted = {"parameters": {"workspace": str(workspace.root), "stages": ["slow"]}}
        place = f"{url}/api/deployments/{found['id']}/create_flow_run"
        return str(httpx.post(place, json=wanted, timeout=60).json()["id"])

    def state(url: str, run: str) -> str:
        return str(httpx.get(f"{url}/api/flow_runs/{run}", timeout=60).json()["state_type"])

    def until(done: Callable[[], bool], seconds: float = 240) -> None:
        limit = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < limit
            time.sleep(0.3)

    root = workspace.root
    (root / "dvc.yaml").write_text(
        "stages: {slow: {cmd: 'touch begun; while [ ! -e go ]; do sleep 0.2; done; "
        "echo done > end.txt', outs: [end.txt]}}\n"
    )
    dvc(root, "init", "-q", "--no-scm")
    lines: list[str] = []
    try:
        parts = up(workspace, ANY, lines.append).parts
        service, server = parts["service"], parts["prefect"]
        sent = [{"user_id": "u03", "domain": "right", "item_id": f"r{n:02}"} for n in range(5)]
        told = httpx.post(f"{service.url}/events", json={"events": sent}, timeout=60).json()
        assert told["accepted"] == 5
        run = started(server.url)
        until((root / "begun").exists)
        assert state(server.url, run) == "RUNNING"
        for name in ("service", "worker", "prefect"):
            kill(parts[name])
        assert {n for n, s in states().items() if s == "gone"} == {"service", "worker", "prefect"}

        again = up(workspace, ANY, lines.append).parts
        assert set(states().values()) == {"running"}
        assert any("marked as crashed" in line for line in lines)
        assert state(again["prefect"].url, run) == "CRASHED"
        # the same five are known already: nothing that was accepted is lost
        kept = httpx.get(f"{again['service'].url}/users/u03", timeout=60).json()
        assert {f"r{n:02}" for n in range(5)} <= {e["item_id"] for e in kept["events"]}, kept

        (root / "go").touch()
        after = started(again["prefect"].url)
        until(lambda: state(again["prefect"].url, after) in ("COMPLETED", "FAILED", "CRASHED"))
        assert state(again["prefect"].url, after) == "COMPLETED"
        assert (root / "end.txt").read_text() == "done\n"
    finally:
        down(workspace, lines.append)


# the table


def test_each_row_of_the_table_is_a_test() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    [table] = re.findall(r"\n## Faults\n.*?(?=\n## )", page, re.DOTALL)
    named = [row.split("|")[-2].strip().strip("`") for row in re.findall(r"^\|.*\|$", table, re.M)]
    named = named[2:]  # below the head
    here = Path(__file__).relative_to(REPOSITORY).as_posix()
    for place in named:
        file, _, name = place.rpartition("::")
        assert f"def {name}(" in (REPOSITORY / (file or here)).read_text(), place
    own = re.findall(r"^def (test_\w+)\(", Path(__file__).read_text(), re.M)
    assert set(own) - set(named) == {"test_each_row_of_the_table_is_a_test"}
    assert len(set(named)) == len(named)
