"""How often vector drift cries wolf, what it finds, and how long it takes, on real item vectors.

    pip install matplotlib
    python benchmarks/drift.py VECTORS ITEMS --out docs/images/drift.png [--windows 300] [--peer]
        [--only seconds|alarms|power]

VECTORS and ITEMS are `vectors.safetensors` and `items.parquet` of a workspace.  Windows are drawn
from its items; drift is put in by hand: a shift of all vectors along a random direction (in units
of their length), a share of rows from a category that the reference does not have (titles with
coffee, espresso or tea), and a rotation of the space.  Prints Markdown and draws the power curves.
`--peer` runs Evidently's embedding drift on 10,000 rows too (2 minutes at most).
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from bridgerec.monitoring.vectors import VectorDrift, vector_drift

REFERENCE = 2000
SIZES = (100, 300, 1000, 3000)
KINDS = {
    "shift of the mean": (0.01, 0.02, 0.03, 0.05),
    "share of a new category": (0.05, 0.1, 0.2, 0.4),
    "rotation (radians)": (0.2, 0.4, 0.8, 1.6),
}
NEW = r"(?i)\b(coffee|espresso|tea)\b"


class World:
    """Vectors (n, d) of items with a text, and which of them are of the new category."""

    def __init__(self, vectors: Path, items: Path) -> None:
        found = load_file(vectors)["vectors"]
        told = np.any(found != 0, axis=1)
        title = pl.read_parquet(items)["title"].fill_null("")
        new = title.str.contains(NEW).to_numpy()[told]
        self.vectors = found[told]
        self.known, self.new = np.flatnonzero(~new), np.flatnonzero(new)
        rng = np.random.default_rng(0)
        size = self.vectors.shape[1]
        direction = rng.normal(size=size)
        self.direction = direction / np.linalg.norm(direction)
        self.basis = np.linalg.qr(rng.normal(size=(size, size)))[0]

    def window(self, kind: str, amount: float, n: int, rng: np.random.Generator) -> np.ndarray:
        rows = rng.choice(self.known, n)
        if kind.startswith("share"):
            rows = np.where(rng.random(n) < amount, rng.choice(self.new, n), rows)
        x = self.vectors[rows]
        if kind.startswith("shift"):
            x = x + (amount * self.direction).astype(np.float32)
        if kind.startswith("rotation"):
            x = self.turned(x, amount)
        return x

    def turned(self, x: np.ndarray, angle: float) -> np.ndarray:
        """By `angle` in half as many random planes as there are dimensions."""
        a, b = np.split(x @ self.basis, 2, axis=1)
        turned = [np.cos(angle) * a - np.sin(angle) * b, np.sin(angle) * a + np.cos(angle) * b]
        return np.hstack(turned) @ self.basis.T

    def judge(self, kind: str, amount: float, n: int, seed: int) -> VectorDrift:
        rng = np.random.default_rng([seed, n])
        reference = self.vectors[rng.choice(self.known, REFERENCE)]
        return vector_drift(reference, self.window(kind, amount, n, rng), seed=seed)


def false_alarms(world: World, windows: int) -> None:
    print(f"\n| rows in the window | alarms in {windows} windows | 95 % interval | p < .05 |")
    print("| --- | --- | --- | --- |")
    for n in SIZES:
        found = [world.judge("none", 0, n, seed) for seed in range(windows)]
        low, high = wilson(sum(f.drift for f in found), windows)
        small = np.mean([f.p_value < 0.05 for f in found])
        print(
            f"| {n:,} | {sum(f.drift for f in found)} | {low:.1%} to {high:.1%} | {small:.1%} |",
            flush=True,
        )


def wilson(hits: int, n: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def power(world: World, windows: int) -> dict[str, dict[int, list[float]]]:
    curves: dict[str, dict[int, list[float]]] = {}
    for kind, amounts in KINDS.items():
        print(f"\n| {kind} | " + " | ".join(f"{n:,} rows" for n in SIZES) + " |")
        print("| --- |" + " --- |" * len(SIZES))
        curves[kind] = {n: [] for n in SIZES}
        for amount in amounts:
            for n in SIZES:
                found = [world.judge(kind, amount, n, 10_000 + s).drift for s in range(windows)]
                curves[kind][n].append(float(np.mean(found)))
            cells = " | ".join(f"{curves[kind][n][-1]:.0%}" for n in SIZES)
            print(f"| {amount:g} | {cells} |", flush=True)
    return curves


def picture(curves: dict[str, dict[int, list[float]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(12, 3.6), sharey=True)
    for axis, (kind, lines) in zip(axes, curves.items(), strict=True):
        for n, line in lines.items():
            axis.plot(KINDS[kind], line, marker="o", markersize=4, label=f"{n:,} rows")
        axis.set(xlabel=kind, ylim=(-0.03, 1.03))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of windows with an alarm")
    axes[-1].legend(frameon=False, loc="upper left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def seconds(world: World, peer: bool) -> None:
    rng = np.random.default_rng(0)
    one, other = (world.vectors[rng.choice(world.known, 10_000)] for _ in range(2))
    began = time.perf_counter(), time.process_time()
    vector_drift(one, other)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    print("\n| two samples of 10,000 x 384 | wall seconds | processor seconds |")
    print("| --- | --- | --- |")
    print(f"| BridgeRec | {wall:.1f} | {cpu:.1f} |", flush=True)
    if peer:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.Process(target=_evidently, args=(one, other, sender))
        child.start()
        if receiver.poll(120):
            wall, cpu, version = receiver.recv()
            print(f"| Evidently {version}, EmbeddingsDriftMetric | {wall:.1f} | {cpu:.1f} |")
        else:
            print("| Evidently, EmbeddingsDriftMetric | more than 120 | |")
        child.kill()
        child.join()


def _evidently(one: np.ndarray, other: np.ndarray, sender: object) -> None:
    import evidently
    import pandas as pd
    from evidently.legacy.metrics import EmbeddingsDriftMetric
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import model
    from evidently.legacy.pipeline.column_mapping import ColumnMapping
    from evidently.legacy.report import Report

    names = [f"v{i}" for i in range(one.shape[1])]
    frames = [pd.DataFrame(x, columns=names) for x in (one, other)]
    began = time.perf_counter(), time.process_time()
    report = Report([EmbeddingsDriftMetric("items", drift_method=model())])
    report.run(
        reference_data=frames[0],
        current_data=frames[1],
        column_mapping=ColumnMapping(embeddings={"items": names}),
    )
    report.as_dict()
    sender.send(  # type: ignore[attr-defined]
        (time.perf_counter() - began[0], time.process_time() - began[1], evidently.__version__)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors", type=Path)
    parser.add_argument("items", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/drift.png"))
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--power-windows", type=int, default=25)
    parser.add_argument("--only", choices=("seconds", "alarms", "power"))
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    world = World(options.vectors, options.items)
    if options.only in (None, "seconds"):
        seconds(world, options.peer)
    if options.only in (None, "alarms"):
        false_alarms(world, options.windows)
    if options.only in (None, "power"):
        picture(power(world, options.power_windows), options.out)


if __name__ == "__main__":
    main()
