"""Recommendations for everybody, to Parquet: in chunks, so that a killed run goes on.

Each person is asked about as `POST /recommend` would, with live state, by the same code; only the
time limit is missing.  Chunks are written to `artifacts/.backfill` and renamed; when the last one
is there, the folder takes the place of `artifacts/backfill`.  So that one is always whole.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.operations.state import alone
from bridgerec.registry.bundle import find_bundle
from bridgerec.registry.store import now
from bridgerec.runtime import BrokenFile, atomic_file, read_json, swap_folders, write_json
from bridgerec.serving.batching import answer_all
from bridgerec.serving.embedder import Embedder
from bridgerec.serving.live import Live
from bridgerec.serving.ranker import Question, Recommender
from bridgerec.serving.schemas import RecommendRequest
from bridgerec.serving.state import open_kept
from bridgerec.serving.switch import chosen_bento

Progress = Callable[[int, int], None]  # people done, people in all
CHUNK = 1000  # people of one file
AT_ONCE = 64  # questions that are scored together, as in the service
PATIENCE = 600.0  # seconds for the encoder, which added items may need
COLUMNS = {
    "user_id": pl.String,
    "target": pl.String,
    "rank": pl.Int32,
    "item_id": pl.String,
    "score": pl.Float32,
    "route": pl.String,
}


@dataclass(frozen=True)
class Wanted:
    """What is asked for: `k` items of each of `targets` (empty: those of params.yaml) for `users`
    (None: everybody whom the release or the store knows), from the live release, or from
    `release`, or from what is `packaged`."""

    users: tuple[str, ...] | None = None
    targets: tuple[str, ...] = ()
    k: int = 10
    release: str | None = None
    packaged: bool = False
    chunk: int = CHUNK


def backfill(
    workspace: Workspace, wanted: Wanted | None = None, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Write `artifacts/backfill/part-*.parquet` with the columns `COLUMNS`, and `manifest.json`,
    which is returned.

    A run that was killed is taken up after its last whole chunk, unless the release, its data, or
    what is wanted changed.  People of earlier chunks are not asked again: what the service learnt
    about them in the meantime counts in the next backfill.

    Raises:
        ConfigError: a target is unknown, k is too large, or there is no such release.
        ArtifactError: nothing is packaged or live.
        StateError: the service's store cannot be read.
        BridgeRecError: another backfill is at work.
    """
    wanted = wanted or Wanted()
    bento, _ = chosen_bento(workspace, wanted.release, wanted.packaged)
    busy = BridgeRecError(f"another backfill is at work in {workspace.root}. Wait for it.")
    with alone(workspace, "backfill.lock", busy):
        recommender = Recommender.open(find_bundle(bento))
        targets = wanted.targets or workspace.params.target_domains
        recommender.check(list(targets), wanted.k)
        store = open_kept(workspace)
        live = Live(recommender, Embedder(recommender.folder, PATIENCE), store)
        try:
            return asyncio.run(_Run(workspace, wanted, targets, live, progress).work())
        finally:
            live.close()


class _Run:
    """One run; `request` is what must be the same for it to go on where another one stopped."""

    def __init__(
        self,
        workspace: Workspace,
        wanted: Wanted,
        targets: Sequence[str],
        live: Live,
        progress: Progress,
    ) -> None:
        self.final = workspace.root / "artifacts" / "backfill"
        self.home = self.final.with_name(".backfill")
        self.parts = self.home / "parts"
        self.wanted, self.targets, self.live = wanted, list(targets), live
        self.recommender, self.progress = live.recommender, progress
        users = "\n".join(wanted.users) if wanted.users is not None else None
        self.request = {
            "release": self.recommender.release,
            "data_hash": self.recommender.dossier["data_hash"],
            "targets": self.targets,
            "k": wanted.k,
            "chunk": wanted.chunk,
            "users": "all" if users is None else sha256(users.encode()).hexdigest(),
        }

    async def work(self) -> dict[str, Any]:
        people = await self._people()
        chunks = range(0, len(people), self.wanted.chunk)
        places = {number: self.parts / f"part-{number:05}.parquet" for number in range(len(chunks))}
        done = [number for number, path in places.items() if path.is_file()]
        finished = sum(len(people[chunks[n] :][: self.wanted.chunk]) for n in done)
        start, resumed = time.monotonic(), finished
        self.progress(finished, len(people))
        for number, path in places.items():
            if number in done:
                continue
            own = people[chunks[number] :][: self.wanted.chunk]
            rows = await self._answers(own, finished, len(people))
            with atomic_file(path) as temporary:
                pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(temporary)
            finished += len(own)
        return self._finish(people, places, resumed, time.monotonic() - start)

    async def _people(self) -> list[str]:
        """Whom to ask about: fixed when a run begins, so that its chunks mean the same when it is
        taken up."""
        path, names = self.home / "request.json", self.home / "people.parquet"
        try:
            if path.is_file() and read_json(path) == self.request:
                return pl.read_parquet(names)["user_id"].to_list()
        except (BrokenFile, OSError, pl.exceptions.PolarsError):
            pass  # begun anew below
        shutil.rmtree(self.home, ignore_errors=True)
        self.parts.mkdir(parents=True)
        users = self.wanted.users
        people = await self._everybody() if users is None else list(dict.fromkeys(users))
        with atomic_file(names) as temporary:
            pl.DataFrame({"user_id": people}, schema={"user_id": pl.String}).write_parquet(
                temporary
            )
        write_json(path, self.request)
        return people

    async def _everybody(self) -> list[str]:
        """Who is in the release and was not forgotten, then who came since."""
        store, names = self.live.store, list(self.recommender.people.names)
        if store is None:
            return names
        kept: list[str] = []
        for start in range(0, len(names), CHUNK):
            page = names[start : start + CHUNK]
            gone = await store.forgotten(page)
            kept += [name for name in page if name not in gone]
        came = await store.people("", 2**31 - 1)
        there = set(kept)
        return kept + [name for name in came if name not in there]

    async def _answers(
        self, people: Sequence[str], finished: int, total: int
    ) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(people), AT_ONCE):
            batch = people[start : start + AT_ONCE]
            questions = []
            for user in batch:
                view = await self.live.look(
                    self.recommender, self.recommender.people.person(None, user)
                )
                for target in self.targets:
                    request = RecommendRequest(target=target, user_id=user, k=self.wanted.k)
                    questions.append(self.recommender.ask(request, view))
            rows += self._scored(questions)
            self.progress(finished + start + len(batch), total)
        return rows

    def _scored(self, questions: Sequence[Question]) -> Iterator[tuple[Any, ...]]:
        """Rows of `COLUMNS`; the baseline answers where a model fails, as in the service."""
        jobs = [self.recommender.jobs(question)[0] for question in questions]
        for question, found in zip(questions, answer_all(jobs), strict=True):
            asked = question
            if isinstance(found, Exception):
                asked = self.recommender.fallen_back(question, type(found).__name__)
                scores = self.recommender.score(asked)
            else:
                scores = {question.parts[0].target: found}
            answer = self.recommender.finish(asked, scores)
            for item in answer["items"]:
                yield (
                    question.request.user_id,
                    item["domain"],
                    item["rank"],
                    item["item_id"],
                    item["score"],
                    answer["route"],
                )

    def _finish(
        self, people: Sequence[str], places: dict[int, Path], resumed: int, seconds: float
    ) -> dict[str, Any]:
        routes: dict[str, int] = {}
        rows = 0
        for path in places.values():
            part = pl.scan_parquet(path)
            rows += part.select(pl.len()).collect().item()
            counts = part.filter(pl.col("rank") == 1).group_by("route").len().collect()
            for route, n in counts.iter_rows():
                routes[route] = routes.get(route, 0) + n
        manifest = {
            **self.request,
            "people": len(people),
            "resumed_after": resumed,
            "rows": rows,
            "routes": routes,
            "seconds": round(seconds, 1),
            "people_per_second": round((len(people) - resumed) / max(seconds, 1e-9), 1),
            "finished": now(),
        }
        write_json(self.parts / "manifest.json", manifest)
        # without it nobody takes up what lies in `home` after the folders changed names
        (self.home / "request.json").unlink()
        if not self.final.exists():
            os.rename(self.parts, self.final)
        elif not swap_folders(self.parts, self.final):
            shutil.rmtree(self.final)
            os.rename(self.parts, self.final)
        shutil.rmtree(self.home, ignore_errors=True)
        return manifest


def read_users(path: Path) -> tuple[str, ...]:
    """Ids from a file, one a line; blank lines do not count.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--users {path}: cannot be read as UTF-8 text ({error}).") from error
    return tuple(line.strip() for line in lines if line.strip())
