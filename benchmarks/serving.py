"""What a request costs: a bare application, BentoML as it comes, and the service, in one run.

    python benchmarks/serving.py http  [--items 100000] [--vectors FILE] [--seconds 8] [--bento DIR]
                                       [--first]
    python benchmarks/serving.py index [--items 1000000] [--vectors FILE | --workspace DIR]
    python benchmarks/serving.py soak  [--minutes 10] [--items 100000]

`http` serves a catalogue of N items from a TwoTower model that is trained on simulated people; a
request brings a history of 20 items and wants 10 of all items of its domain; `/health`, the trivial
answer, and `/recommend` by 64 clients are asked five times, as their tails show whatever else runs,
on this machine or beside it. `--bento` measures a packaged release beside it (the demo's
`artifacts/bento`). `--vectors` is a `vectors.safetensors` of the embed stage: item vectors are then
drawn from a mixture that is fitted to them. Load comes from wrk in a process of its own; its share
of a core is printed, so that one sees that it is not the limit, and that of everything else on the
machine. Where that is not small, microseconds of processor time per request count, and tails only
with `--first` (as root: before all other work).

A worker is ready before it has made its 8-bit copies of item vectors (about two seconds, for which
torch is loaded); what is printed after "at rest" is measured with them.

`index` ranks a large catalogue with the inverted file against the exact answer; the number of
lists is chosen by some people and judged by 2,000 others.  `--workspace` is one with a trained
`two_tower`: the mixture is fitted to its item vectors, and its own people ask.  `soak` mixes all
kinds of requests, kills a worker every minute and compares what was accepted with what is there.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numpy as np
import psutil

from bridgerec.data.dataset import Catalogue, Split
from bridgerec.serving.copies import LISTS, inverted, listed, read_inverted
from bridgerec.serving.index import Index
from bridgerec.serving.probes import PEOPLE, Asked, choose
from bridgerec.serving.topk import Best
from bridgerec.serving.towers import ServedTowers, load_served, sample
from load.bundle import grown, item_vectors, world, write
from load.client import load
from load.priority import prefer
from load.server import Server, bare, default, ours, started
from load.soak import soak

LENGTH = 20  # items of a history
JUDGES = 2000  # people by whom the lists are judged
AGAIN = 5  # runs of what is asked for its tail


def machine() -> str:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    used = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({model}), {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"load {used:.1f}, OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE', 'not set')}"
    )


def memory(server: Server) -> str:
    """MiB of each process that has loaded the bundle, its own alone and with what it shares."""
    found = []
    for process in server.all():
        own = process.memory_full_info()
        if own.rss > 150 * 2**20:
            found.append(f"{own.uss / 2**20:.0f} own, {own.rss / 2**20:.0f} in all")
    return "; ".join(found)


def requests(catalogue: Catalogue, target: str, count: int = 512) -> list[dict[str, object]]:
    rng = np.random.default_rng(3)
    ids = catalogue.items["item_id"][catalogue.block(target)].to_list()
    return [
        {
            "target": target,
            "k": 10,
            "history": [
                {"domain": target, "item_id": ids[i]}
                for i in rng.choice(len(ids), min(LENGTH, len(ids)), replace=False).tolist()
            ],
        }
        for _ in range(count)
    ]


def events(catalogue: Catalogue, target: str, count: int = 5000) -> list[dict[str, object]]:
    """Without times and ids of their own, so that each is a new one."""
    ids = catalogue.items["item_id"][catalogue.block(target)].to_list()
    rng = np.random.default_rng(4)
    return [
        {"user_id": f"U{n % 997:06d}", "domain": target, "item_id": ids[i], "value": n / 7}
        for n, i in enumerate(rng.integers(len(ids), size=count).tolist())
    ]


def bundle(folder: Path, items: int, vectors: Path | None) -> Catalogue:
    training = world(items, min(20_000, items), vectors)
    (folder / "bundle").mkdir()
    write(folder / "bundle", training)
    return training.catalogue


def http(items: int, vectors: Path | None, seconds: int, bento: Path | None, first: bool) -> None:
    users = [{"user_id": f"U{i:06d}"} for i in range(1000)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, command, check in (
            ("bare Starlette, 20 ids", bare(folder), "/none"),
            ("BentoML by default, 20 ids", default(folder), "/readyz"),
        ):
            with started(command, folder, check) as server:
                if first:
                    prefer(server)
                for clients in (16, 64):
                    print(title, load(server, "/recommend", clients, seconds, users), flush=True)
        catalogue = bundle(folder, items, vectors)
        served(f"{items} items", folder, catalogue, "shop", seconds, first)
    if bento is not None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "bundle").symlink_to((bento / "src" / "bundle").resolve())
            catalogue = Catalogue.read(folder / "bundle" / "catalogue.parquet")
            served(str(bento), folder, catalogue, catalogue.domains[0], seconds, first)


def served(
    title: str, folder: Path, catalogue: Catalogue, target: str, seconds: int, first: bool
) -> None:
    asked, told = requests(catalogue, target), events(catalogue, target)
    for workers in (1, 2):
        places = {
            "BRIDGEREC_STATE": str(folder / f"state{workers}"),
            "BRIDGEREC_TRAFFIC": str(folder / f"traffic{workers}"),
            "BRIDGEREC_WORKERS": str(workers),
        }
        with started(ours(folder), folder, "/readyz", **places) as server:
            print(
                f"{title}, {workers} worker(s): ready after {server.ready:.1f} s "
                f"({server.cpu():.1f} s CPU); MiB: {memory(server)}"
            )
            server.rest()
            if first:
                prefer(server)
            print(f"  at rest MiB: {memory(server)}", flush=True)
            if workers == 1:
                for clients in [16] * AGAIN + [64]:
                    print("  /health   ", load(server, "/health", clients, 3), flush=True)
                for clients in (1, 16):
                    print("  /recommend", load(server, "/recommend", clients, seconds, asked))
                print("  /events   ", load(server, "/events", 64, seconds, told), flush=True)
            for _ in range(AGAIN):
                print("  /recommend", load(server, "/recommend", 64, seconds, asked), flush=True)
            print(f"  afterwards MiB: {memory(server)}", flush=True)


def index(items: int, vectors: Path | None, workspace: Path | None) -> None:
    """Recall and cost of the inverted file against the exact answer."""
    if workspace is None:
        keys, extras, queries, weights = imagined(items, vectors)
    else:
        keys, extras, queries, weights = trained(items, workspace)
    print(f"{items} items of {keys.shape[1]} numbers, {len(queries) - JUDGES} people choose")
    rest = slice(JUDGES, None)
    asked = Asked(queries[rest], weights[rest], [[]] * (len(queries) - JUDGES))
    queries, weights = queries[:JUDGES], weights[:JUDGES]
    exact = Index(keys, extras)
    start = time.process_time()
    truth = exact.top(queries, weights, [100] * JUDGES, [[]] * JUDGES)
    spent = (time.process_time() - start) / JUDGES
    print(f"exact, by batches: {1e3 * spent:.2f} ms CPU per question", flush=True)
    with tempfile.TemporaryDirectory() as name:
        start, path = time.process_time(), Path(name) / "items.faiss"
        built = inverted(listed(keys, exact.extras), lists=max(16, min(LISTS, items // 64)))
        faiss.write_index(built, str(path))
        spent = time.process_time() - start
        print(f"built in {spent:.0f} s CPU, {path.stat().st_size / 1e6:.0f} MB", flush=True)
        del built
        fast = Index(keys, extras, read_inverted(path, keys.shape))
        start = time.process_time()
        chosen = choose(exact, fast, asked)
        spent = time.process_time() - start
        print(f"{chosen} of {fast.lists} lists chosen in {spent:.0f} s CPU", flush=True)
        judge(fast, queries, weights, truth)


def judge(fast: Index, queries: np.ndarray, weights: np.ndarray, truth: Sequence[Best]) -> None:
    """Print recall, and the cost of a question by how many are asked together: the less of two."""
    line = f"  {fast.probes} lists:"
    for batch in (1, 16, 64):
        spent = []
        for _ in range(2):
            start = time.process_time()
            found = ask(fast, queries, weights, batch)
            spent.append((time.process_time() - start) / len(queries))
        line += f" {1e3 * min(spent):.2f} ms CPU by {batch},"
    for k in (10, 100):
        wanted = [t.places[:k] for t in truth]
        hits = [np.isin(w, f.places[:k]).mean() for w, f in zip(wanted, found, strict=True)]
        line += f" recall@{k} {np.mean(hits):.4f} +- {np.std(hits) / np.sqrt(len(hits)):.4f}"
    print(line, flush=True)


def imagined(items: int, vectors: Path | None) -> tuple[np.ndarray, ...]:
    """Items are drawn from the mixture; what speaks for them whoever asks is spread as in the model
    that `http` trains.  People are the faded sums of 20 items out of three clusters each."""
    keys, cluster = item_vectors(items, vectors)
    rng = np.random.default_rng(11)
    extras = (rng.gamma(1, 1, (items, 2)) * [0.06, 0.01]).astype(np.float32)
    queries = np.stack([person(keys, cluster, rng) for _ in range(JUDGES + PEOPLE)])
    weights = np.tile(np.array([9.8, 13.5], dtype=np.float32), (len(queries), 1))
    return keys, extras, queries, weights


def trained(items: int, workspace: Path) -> tuple[np.ndarray, ...]:
    """Items are drawn from a mixture that is fitted to a trained tower's vectors of its last
    domain; popularity and trend are those of the items they were made of.  People are its own."""
    prepared, split = workspace / "artifacts" / "prepared", "leave_last"
    model = load_served(workspace / "artifacts/candidates/two_tower" / split / "seed-0")
    assert isinstance(model, ServedTowers)
    target, rng = model.domains[-1], np.random.default_rng(11)
    stored = Split.read(prepared, split, Catalogue.read(prepared / "items.parquet"))
    asked = sample(model, target, stored.training().histories, JUDGES + PEOPLE)
    order = rng.permutation(len(asked.queries))
    known = model.index(target, int(stored.training().histories.timestamp is not None))
    keys, _, donor = grown(known.vectors, items, rng)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    return keys, known.extras[donor], asked.queries[order], asked.weights[order]


def person(keys: np.ndarray, cluster: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tastes = cluster[rng.integers(len(keys), size=3)]
    own = np.concatenate([rng.choice(np.flatnonzero(cluster == c), LENGTH) for c in tastes])
    chosen = keys[rng.permutation(own)[:LENGTH]]
    summed = (0.8 ** np.arange(LENGTH)[:, None] * chosen).sum(0)
    return (summed / np.linalg.norm(summed) / 0.07).astype(np.float32)


def ask(index: Index, queries: np.ndarray, weights: np.ndarray, batch: int) -> list[Best]:
    """The 100 best, so many questions together."""
    found: list[Best] = []
    for start in range(0, len(queries), batch):
        rows = slice(start, start + batch)
        n = len(queries[rows])
        found += index.top(queries[rows], weights[rows], [100] * n, [[]] * n)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("http", "index", "soak"))
    parser.add_argument("--items", type=int)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--bento", type=Path)
    parser.add_argument("--first", action="store_true")
    chosen = parser.parse_args(arguments)
    print(machine(), flush=True)
    if chosen.what == "http":
        http(chosen.items or 100_000, chosen.vectors, chosen.seconds, chosen.bento, chosen.first)
    elif chosen.what == "index":
        index(chosen.items or 1_000_000, chosen.vectors, chosen.workspace)
    else:
        with tempfile.TemporaryDirectory() as name:
            catalogue = bundle(Path(name), chosen.items or 100_000, chosen.vectors)
            soak(Path(name), catalogue, chosen.minutes)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
