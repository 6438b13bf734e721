"""Training and embedding on a CUDA device, and what can be learned from many trainings there.

    python benchmarks/gpu.py run WORKSPACE OUT [--workers 14] [--seconds 450]
    python benchmarks/gpu.py show WORKSPACE OUT

WORKSPACE is what `bridgerec init` makes, prepared; `run` embeds it if need be.  One after
another: the encoder (texts per second), then Sequence, TwoTower and Profile alone.  Then side by
side, until `seconds` are over: the encoder fine-tuned in four ways; `Sequence` without each of its
parts; EASE with text, TwoTower and Sequence on fine-tuned vectors; `Sequence` with other options,
first each change alone, then the best together.  All is ranked on the people of validation.
OUT gets results.jsonl and ranks.npz.  `show` prints Markdown: means over seeds, and differences
paired over people with 95 % bootstrap intervals.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bridgerec.config import FineTune, Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.encoders.text import TextEncoder, item_texts
from bridgerec.evaluation.significance import Bootstrap, Difference, holm
from bridgerec.pipeline.embed import embed
from bridgerec.runtime import read_json
from stages import table
from trainings import Job, Outcome, Part, metrics, train_and_rank

METRIC = "ndcg@10"
SEQUENCE = "bridgerec.models.sequence:Sequence"
BASE = {"embedding_size": 256}
TINY = {"epochs": 1, "embedding_size": 16, "batch_size": 512, "negatives": 64}  # to try the script
WAITED = (("finetune",), ("search", "ablation"), ("search",))  # before each wave of the search
LONG = {"steps": 1500, "batch_size": 128, "anchor": 0.1}
FINETUNED = {
    "lora": {"method": "lora"},
    "full": {"method": "full"},
    "lora, long": {"method": "lora", **LONG},
    "full, long": {"method": "full", "learning_rate": 5e-5, **LONG},
}
PARTS: tuple[Part, ...] = ("order", "order, when asked", "time gaps", "own vectors", "domains")
CHANGES: tuple[dict[str, Any], ...] = (
    {"dropout": 0.3}, {"dropout": 0.4}, {"dropout": 0.1},
    {"residual_dropout": 0.0}, {"residual_dropout": 0.3}, {"residual_dropout": 0.5},
    {"epochs": 6}, {"epochs": 10}, {"epochs": 13},
    {"learning_rate": 0.001}, {"learning_rate": 0.0014}, {"learning_rate": 0.003},
    {"temperature": 0.07}, {"temperature": 0.085}, {"temperature": 0.12}, {"temperature": 0.15},
    {"weight_decay": 0.1}, {"weight_decay": 0.3}, {"batch_size": 64}, {"batch_size": 256},
    {"layers": 1}, {"layers": 3}, {"layers": 4}, {"heads": 2}, {"heads": 8},
    {"embedding_size": 384}, {"embedding_size": 512},
    {"negatives": 512}, {"negatives": 2048}, {"negatives": 8192},
    {"other_domain_share": 0.1}, {"other_domain_share": 0.7},
    {"history_dropout": 0.0}, {"history_dropout": 0.2},
    {"half_lives": [1.0, 4.0, 15.0, 60.0, 240.0]}, {"view_weight": 0.05},
    {"adversarial_weight": 0.5},
)  # fmt: skip


def ablation(seed: int) -> Iterator[Job]:
    """Sequence of 256 dimensions, whole and without each part."""
    yield Job("full", SEQUENCE, BASE, seed=seed)
    for part in PARTS:
        yield Job(part, SEQUENCE, BASE, without=part, seed=seed)
    yield Job("text", SEQUENCE, BASE, vectors="random", seed=seed)
    yield Job("second domain", SEQUENCE, BASE, alone=True, seed=seed)
    yield Job("trends", SEQUENCE, {**BASE, "half_lives": []}, seed=seed)


def on_vectors(folder: str, seeds: int) -> Iterator[Job]:
    """Models on an encoder's vectors; Sequence on the original's is the ablation's `full`."""
    for split in ("leave_last", "temporal"):
        yield Job("ease_text", "ease_text", vectors=folder, split=split, device="cpu")
        for seed in range(seeds):
            yield Job("two_tower", "two_tower", vectors=folder, split=split, seed=seed)
    for seed in range(seeds if folder else 0):
        yield Job("sequence", SEQUENCE, BASE, vectors=folder, seed=seed)


class Results:
    """What is known so far: a line per job in results.jsonl, and everybody's ranks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.ranks: dict[str, NDArray[np.int32]] = {}
        self.began = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def read(cls, folder: Path) -> "Results":
        found = cls(folder)
        found.rows = [json.loads(r) for r in (folder / "results.jsonl").read_text().splitlines()]
        found.ranks = dict(np.load(folder / "ranks.npz"))
        return found

    def note(self, phase: str, **row: Any) -> None:
        row = {"phase": phase, "at": round(time.perf_counter() - self.began, 1), **row}
        self.rows.append(row)
        print(json.dumps({k: v for k, v in row.items() if k != "job"})[:300], flush=True)
        with (self.folder / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def add(self, phase: str, found: Outcome) -> None:
        number = sum("job" in row for row in self.rows)
        for target, ranks in found.ranks.items():
            self.ranks[f"{number}/{target}"] = ranks
        self.note(
            phase, name=found.job.name, seed=found.job.seed, number=number,
            training_seconds=round(found.training_seconds, 2),
            ranking_seconds=round(found.ranking_seconds, 2),
            learned=found.learned[:16], job=asdict(found.job),
        )  # fmt: skip

    def save(self) -> None:
        np.savez(self.folder / ".ranks.npz", **self.ranks)  # type: ignore[arg-type]
        (self.folder / ".ranks.npz").rename(self.folder / "ranks.npz")

    def people(self, root: Path, row: dict[str, Any], target: str) -> dict[str, Any]:
        ranks = self.ranks[f"{row['number']}/{target}"]
        return metrics(root, row["job"]["split"], target, ranks)

    def targets(self, row: dict[str, Any]) -> list[str]:
        return [k.split("/")[1] for k in self.ranks if k.startswith(f"{row['number']}/")]


def embed_apart(
    root: Path, folder: Path, device: str, finetune: dict[str, Any] | None
) -> dict[str, Any]:
    """Embed a copy of the workspace; seconds of the clock, and what the encoder's card says."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["embed"]["text"]["device"] = device
    if finetune:
        params["embed"]["finetune"] = FineTune(**finetune).model_dump()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "artifacts" / "prepared", folder / "artifacts" / "prepared")
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    start = time.perf_counter()
    embed(Workspace.open(folder), lambda text: None)
    card = read_json(folder / "artifacts" / "vectors" / "encoder.json")
    return {"seconds": round(time.perf_counter() - start, 2), "card": card}


def encoder_speed(root: Path, device: str, most: int) -> dict[str, Any]:
    """Texts per second of the text encoder, the model loaded and warm, by batch size."""
    workspace = Workspace.open(root)
    config, catalogue = workspace.params.embed, Catalogue.read(workspace.prepared / "items.parquet")
    found = item_texts(catalogue.items, config.fields, config.max_characters)
    texts = sorted({text for text in found if text})[:most]
    speed = {}
    for size in (64, 512, 2048):
        encoder = TextEncoder(config.text.model_copy(update={"device": device, "batch_size": size}))
        encoder.encode(texts[::8])
        start = time.perf_counter()
        encoder.encode(texts)
        speed[size] = round(len(texts) / (time.perf_counter() - start))
    return {"device": device, "texts": len(texts), "texts_per_second_by_batch": speed}


def gains(root: Path, results: Results) -> list[tuple[float, dict[str, Any]]]:
    """What each change of options tried so far gains, best first: relative to the base, the mean of
    NDCG@10 among all and HR@10 among 999 and of the targets; over its seeds."""
    base, found = {}, defaultdict(list)
    for row in results.rows:
        if row["phase"] not in ("ablation", "search") or row["name"] not in ("full", "search"):
            continue
        worth = np.array([
            [values[m].mean() for m in ("ndcg@10", "sampled999_hr@10")]
            for values in (results.people(root, row, t) for t in results.targets(row))
        ])  # fmt: skip
        if row["name"] == "full":
            base[row["seed"]] = worth
        else:
            options = row["job"]["options"]
            found[json.dumps(options, sort_keys=True)].append((row["seed"], worth))
    ranked = [
        (float(np.mean([(w / base[s]).mean() - 1 for s, w in all_])), json.loads(options))
        for options, all_ in found.items()
        if all(s in base for s, _ in all_)
    ]
    return sorted(ranked, key=lambda pair: -pair[0])


def next_wave(root: Path, results: Results, wave: int, seeds: int) -> Iterator[Job]:
    """First each change alone, then the best together, then the best of all from other seeds."""
    if wave == 0:
        yield from (Job("search", SEQUENCE, {**BASE, **change}) for change in CHANGES)
        return
    ranked = [(g, o) for g, o in gains(root, results) if g > 0]
    if wave == 1:
        merged: dict[str, Any] = {}
        for _, options in ranked:
            new = {k: v for k, v in options.items() if BASE.get(k) != v}
            if len(new) == 1 and not new.keys() & merged.keys():
                merged |= new
                if 2 <= len(merged) <= 8:
                    for seed in range(2):
                        yield Job("search", SEQUENCE, {**BASE, **merged}, seed=seed)
        for _, options in ranked[:5]:
            yield Job("search", SEQUENCE, options, seed=1)
    else:
        for _, options in ranked[:4]:
            for seed in range(1, seeds):
                yield Job("search", SEQUENCE, options, seed=seed)


def alone(root: Path, results: Results, device: str, small: bool) -> None:
    """One model after the other, nothing beside it; Sequence twice, to see whether it repeats."""
    for number, model in enumerate((SEQUENCE, SEQUENCE, SEQUENCE, "two_tower", "profile")):
        options = {**BASE, **(TINY if small else {})} if model == SEQUENCE else {}
        if number == 0:  # the first use of a device is slow
            options["epochs"] = 1
        job = Job(model.split(":")[-1], model, options, device=device)
        results.add("alone" if number else "warm", train_and_rank(root, job))
    results.save()


def together(root: Path, results: Results, given: argparse.Namespace) -> None:
    """Everything else, in `workers` processes, until `seconds` after the beginning."""
    device, seeds, apart = given.device, given.seeds, root.parent / f"{root.name}-encoders"
    pool = ProcessPoolExecutor(given.workers, multiprocessing.get_context("spawn"))
    running: dict[Future[Any], tuple[str, Any]] = {}
    asked: set[str] = set()

    def submit(phase: str, jobs: Iterable[Job]) -> None:
        for job in jobs:
            here = device if job.device == "cuda" else job.device
            less = TINY if given.small and job.model == SEQUENCE else {}
            job = replace(job, device=here, options=job.options | less)
            key = f"{phase} {job}"
            if key not in asked:
                asked.add(key)
                running[pool.submit(train_and_rank, root, job)] = phase, job

    for kind, options in FINETUNED.items():
        folder = apart / kind.replace(", ", "-")
        fewer = {"steps": 2} if given.small else {}
        future = pool.submit(embed_apart, root, folder, device, {**options, **fewer})
        running[future] = "finetune", (kind, str(folder))
    submit("processor", [Job("Sequence", SEQUENCE, BASE, device="cpu")])
    submit("processor", [Job(m, m, device="cpu") for m in ("two_tower", "profile")])
    for seed in range(seeds):
        submit("ablation", ablation(seed))
    submit("original", on_vectors("", seeds))
    wave = 0
    while running and (left := given.seconds - (time.perf_counter() - results.began)) > 0:
        done, _ = wait(running, timeout=min(5, left), return_when="FIRST_COMPLETED")
        for future in done:
            phase, what = running.pop(future)
            if error := future.exception():
                results.note(phase, what=str(what), error=repr(error))
            elif phase != "finetune":
                results.add(phase, future.result())
            else:
                results.note(phase, kind=what[0], **future.result())
                if future.result()["card"]["finetune"]["best_step"] or given.small:
                    submit(what[0], on_vectors(what[1], seeds))
        if done:
            results.save()
        if wave < 3 and not any(p in WAITED[wave] for p, _ in running.values()):
            submit("search", next_wave(root, results, wave, seeds))
            wave += 1
    results.note("finished", unfinished=len(running))
    results.save()
    for process in list(pool._processes.values()):  # those that still train
        process.terminate()


def per_person(
    root: Path, results: Results, rows: list[dict[str, Any]], target: str, metric: str
) -> NDArray[np.float64]:
    """Means over the rows' seeds."""
    return np.mean([results.people(root, row, target)[metric] for row in rows], axis=0)


def show_devices(root: Path, results: Results) -> str:
    """Seconds of training on the device alone and on a processor, and whether they rank alike."""
    lines = []
    for here in (r for r in results.rows if r["phase"] == "alone"):
        name = here["name"]
        there = [r for r in results.rows if r["phase"] == "processor" and r["name"] == name]
        for target in results.targets(here):
            a = per_person(root, results, [here], target, METRIC)
            cells = [name, target, f"{here['training_seconds']:.1f}", f"{a.mean():.4f}"]
            if not there:
                lines.append([*cells, "–", "–", "–"])
                continue
            b = per_person(root, results, there, target, METRIC)
            gap = Bootstrap(len(a), 5000, 0.95, 0).difference(a, b)
            seconds = f"{there[0]['training_seconds']:.1f}"
            lines.append([*cells, seconds, f"{b.mean():.4f}", interval(gap)])
    head = ["model", "target", "s, device", METRIC, "s, processor", METRIC, "difference"]
    return table(head, lines)


def show_parts(root: Path, results: Results) -> str:
    """Sequence with and without each part, by the seeds that both have."""
    rows: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in results.rows:
        if row["phase"] == "ablation" and "number" in row:
            rows[row["name"]][row["seed"]] = row
    lines, p_values = [], []
    for part in [name for name in rows if name != "full"]:
        seeds = sorted(rows[part].keys() & rows["full"].keys())
        for target in results.targets(rows["full"][0]):
            a, b = (
                per_person(root, results, [rows[name][s] for s in seeds], target, METRIC)
                for name in ("full", part)
            )
            gap = Bootstrap(len(a), 5000, 0.95, 0).difference(a, b)
            cells = [part, target, str(len(seeds)), f"{a.mean():.4f}", f"{b.mean():.4f}"]
            lines.append([*cells, interval(gap)])
            p_values.append(gap.p_value)
    for line, p in zip(lines, holm(p_values), strict=True):
        line.append(f"{p:.3f}")
    head = ["part", "target", "seeds", "with", "without", f"difference of {METRIC}", "p (Holm)"]
    return table(head, lines)


def show_seeds(root: Path, results: Results) -> str:
    """The whole Sequence from every seed, by all metrics."""
    lines, metric = [], []
    for row in results.rows:
        if row["phase"] == "ablation" and row.get("name") == "full":
            for target in results.targets(row):
                found = results.people(root, row, target)
                metric = list(found)
                means = [f"{values.mean():.4f}" for values in found.values()]
                lines.append([target, str(row["seed"]), *means])
    return table(["target", "seed", *metric], sorted(lines))


def interval(gap: Difference) -> str:
    return f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "show"))
    parser.add_argument("workspace", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=450)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny models, to try the script")
    given = parser.parse_args()
    root = given.workspace.resolve()
    if given.what == "show":
        results = Results.read(given.out)
        print("\n".join(f(root, results) for f in (show_devices, show_seeds, show_parts)))
        return
    results = Results(given.out)
    if not (root / "artifacts" / "vectors").exists():
        folder = root.parent / f"{root.name}-original"
        results.note("embed", device=given.device, **embed_apart(root, folder, given.device, None))
        shutil.copytree(folder / "artifacts" / "vectors", root / "artifacts" / "vectors")
    most = 100 if given.small else 10**9
    results.note("encoder", **encoder_speed(root, given.device, most))
    alone(root, results, given.device, given.small)
    together(root, results, given)
    os._exit(0)  # without waiting for what was ended


if __name__ == "__main__":
    main()
