"""`TwoTower` at serving: the same scores in numpy alone, its item vectors mapped from the file.

Workers of one machine share the mapped pages, and are ready before torch is loaded.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from bridgerec.config import Compression
from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ArtifactError
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, load, under
from bridgerec.models.compression import expand
from bridgerec.models.trends import Trends
from bridgerec.runtime import read_json
from bridgerec.serving import probes
from bridgerec.serving.additions import Borrowed
from bridgerec.serving.copies import inverted, listed, read_inverted
from bridgerec.serving.index import LARGE, Hidden, Index
from bridgerec.serving.topk import Best, Floats

TOWERS = "bridgerec.models.two_tower:TwoTower"
FOLLOWS = 2.0  # as in training.prior
EPSILON = 1e-3  # as in training.item_tower.unit


class ServedConfig(CandidateConfig):
    """What answering needs of `TwoTowerConfig`; its other options are for training."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    max_history: int = 24
    temperature: float = 0.07


class ServedTowers(Candidate):
    """A trained `TwoTower` that only answers."""

    config_class = ServedConfig

    def fit(self, training: Training) -> None:
        raise ArtifactError("the served form of TwoTower does not learn; train TwoTower.")

    def arrays(self) -> Arrays:
        trends = {f"trends/{name}": array for name, array in self.trends.arrays().items()}
        return {**self.parts, "items": self.items, "log_popularity": self.log_popularity, **trends}

    def restore(self, arrays: Arrays) -> None:
        self.trends = Trends.of(under(arrays, "trends/"))
        self.parts = {n: a for n, a in arrays.items() if not n.startswith("trends/")}
        self.items: Floats = self.parts.pop("items")
        self.log_popularity: Floats = self.parts.pop("log_popularity")
        self._indexes: dict[tuple[str, int], Index] = {}
        self._means: dict[tuple[str, int], tuple[Borrowed, Floats]] = {}

    def score(self, histories: Histories, target: str) -> Floats:
        block, timed = self.block(target), int(histories.asked is not None)
        queries, weights = self.queries(histories, target)
        scores = queries @ self.items[block].T
        if self.settled(histories):
            scores += weights @ self.index(target, timed).extras.T
            scores += (weights @ self.index(target, timed).shift)[:, None]
        else:
            weights = weights * self.scale(target)
            scores += weights[:, :1] * self.log_popularity[block]
            trend = self.parts["prior.trend"][timed, self.domains.index(target)]
            scores += weights[:, 1:] * self.trends.lift(trend, histories.moment, block)
        return np.asarray(scores, dtype=np.float32)

    def top(self, histories: Histories, target: str, k: list[int], hidden: Hidden) -> list[Best]:
        """The `k[i]` best of each row without the places `hidden[i]` of the target; for `settled`
        questions."""
        queries, weights = self.queries(histories, target)
        return self.index(target, int(histories.asked is not None)).top(queries, weights, k, hidden)

    def borrow(self, histories: Histories, target: str, added: Borrowed) -> Floats:
        """Scores of items that were added since, (batch, added): being linear in the items, the
        mean of scores is the score of a mean."""
        timed = int(histories.asked is not None)
        index = self.index(target, timed)
        kept = self._means.get((target, timed))
        if kept is None or kept[0] is not added:
            near = added.near.ravel()
            whole = np.hstack([index.vectors[near], index.extras[near] + index.shift])
            means = np.einsum("mk,mkd->md", added.share, whole.reshape(*added.near.shape, -1))
            kept = added, means
            self._means[target, timed] = kept
        return _each(np.hstack(self.queries(histories, target)), kept[1].T)

    def settled(self, histories: Histories) -> bool:
        """Whether all is asked after the newest thing that the model knows of."""
        return bool((histories.moment >= self.trends.edges[-1]).all())

    def index(self, target: str, timed: int) -> Index:
        """The target's items as they are from now on; made on first use."""
        found = self._indexes.get((target, timed))
        if found is None:
            block = self.block(target)
            trend = self.parts["prior.trend"][timed, self.domains.index(target)]
            lift = self.trends.lift(trend, self.trends.edges[-1:], block)[0]
            extras = np.stack([self.log_popularity[block], lift], axis=1) * self.scale(target)
            path = self.folder / f"{target}.{timed}.faiss"
            vectors = self.items[block]
            file = read_inverted(path, vectors.shape) if path.is_file() else None
            found = Index(vectors, extras, file)
            self._indexes[target, timed] = found
        return found

    def quicken(self) -> None:
        """Make what finds the lists of the indexes in use faster; others may ask meanwhile."""
        for index in list(self._indexes.values()):
            index.quicken()

    def queries(self, histories: Histories, target: str) -> tuple[Floats, Floats]:
        """Whom the questions are about as vectors (batch, size), over the temperature, and the
        weights of popularity and trend (batch, 2)."""
        d, timed = self.domains.index(target), int(histories.asked is not None)
        recent = histories.last(self.config.max_history)
        entries, kind, rows = self.items[recent.items], self.domain_of(recent.items), recent.rows
        filled, starts = recent.lengths > 0, recent.indptr[:-1]
        pull = self.parts["user.pull"]
        logits = pull[d, kind, np.minimum(recent.age, pull.shape[2] - 1)]
        if "user.attend" in self.parts and len(entries):
            newest = entries[recent.indptr[1:][filled] - 1]
            asking = np.zeros((len(recent), entries.shape[1]), dtype=np.float32)
            asking[filled] = _each(newest, self.parts["user.attend"])
            logits = logits + np.einsum("nd,nd->n", asking[rows], entries)
        summed = np.zeros((len(recent), self.items.shape[1]), dtype=np.float32)
        warm = np.zeros(len(recent), dtype=np.int64)
        if filled.any():
            top = np.maximum(np.maximum.reduceat(logits, starts[filled]), np.float32(-1e4))
            where = np.cumsum(filled) - 1
            weighted = entries * np.exp(logits - top[where[rows]])[:, None]
            summed[filled] = np.add.reduceat(weighted, starts[filled], axis=0)
            warm[filled] = np.maximum.reduceat(kind == d, starts[filled])
        people = _unit(_each(summed, self.parts["user.head"][d]))
        follow = (people * self.parts["prior.follow"][timed, d][warm]).sum(1)
        follow += self.parts["prior.usual"][timed, d][warm]
        moved = FOLLOWS / (1 + np.exp(-follow)) * warm
        weights = np.stack([self.parts["prior.popular"][d][warm], moved], axis=1)
        weights = (weights / self.scale(target)).astype(np.float32)
        return people / np.float32(self.config.temperature), weights

    def scale(self, target: str) -> Floats:
        """By what extras are multiplied and weights divided, (2,): then a question's weights are
        of the size of its vector."""
        popular = np.abs(self.parts["prior.popular"][self.domains.index(target)]).max()
        usual = np.array([max(float(popular), 0.01), 1.0]) * self.config.temperature
        return usual.astype(np.float32)


def prepare(bundle: Path) -> None:
    """Give the towers of a bundle that is being made what their large targets need."""
    stored = Histories(**mapped(bundle / "histories.safetensors"))
    for path in sorted((bundle / "models").iterdir()):
        if read_json(path / "model.json")["use"] != TOWERS:
            continue
        model = load_served(path)
        assert isinstance(model, ServedTowers)
        for target in model.domains:
            block = model.block(target)
            if block.stop - block.start > LARGE:
                build_index(model, target, stored)


def build_index(model: ServedTowers, target: str, stored: Histories) -> Path:
    """Write the inverted file of a target's items beside the model, where `ServedTowers.index`
    finds it, for people like the `stored` ones."""
    import faiss

    exact = model.index(target, int(stored.timestamp is not None))
    path = model.folder / f"{target}.{int(stored.timestamp is not None)}.faiss"
    made = inverted(listed(exact.vectors, exact.extras))
    fast = Index(exact.vectors, exact.extras + exact.shift, made)
    probes.choose(exact, fast, sample(model, target, stored))
    faiss.write_index(made, str(path))
    return path


def sample(
    model: ServedTowers, target: str, stored: Histories, most: int = probes.PEOPLE
) -> probes.Asked:
    """What `most` of the people would ask the service: right after the newest entry of all, and
    what they know is hidden."""
    known = np.flatnonzero(stored.lengths)
    chosen = np.random.default_rng(0).permutation(known)[:most]
    people, block = stored.take(np.sort(chosen)), model.block(target)
    if stored.timestamp is not None and len(people):
        people = replace(people, asked=np.full(len(people), int(stored.timestamp.max()) + 1))
    inside = people.within(block)
    hidden = np.split(inside.items.astype(np.int64) - block.start, inside.indptr[1:-1])
    return probes.Asked(*model.queries(people, target), hidden[: len(people)])


def _each(rows: Floats, matrix: Floats) -> Floats:
    """rows @ matrix, each row by itself: a product of all rounds by how many there are."""
    found: Floats = np.matmul(rows[:, None], matrix)[:, 0]
    return found


def _unit(rows: Floats) -> Floats:
    norm = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    found: Floats = rows / np.maximum(norm, np.float32(EPSILON))[:, None]
    return found


def load_served(path: Path) -> Candidate:
    """A trained candidate in the form that answers fastest: towers in numpy, others as they are.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    try:
        meta = read_json(path / "model.json")
    except (OSError, ValueError):
        meta = {}
    if meta.get("use") != TOWERS:
        return load(path)
    found = ServedTowers(ServedConfig.model_validate(meta["config"]), meta["seed"])
    found._shape(tuple(meta["domains"]), np.array(meta["offsets"], dtype=np.int64))
    found.catalogue, found.folder = meta["catalogue"], path
    found.compression = Compression(**meta.get("compression", {}))
    found.restore(expand(mapped(path / "model.safetensors")))
    return found


def mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, read-only, as views of the mapped file.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    kinds = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "U16": "<u2",
             "I64": "<i8", "I32": "<i4", "I8": "i1"}  # fmt: skip
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        everything = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
        found = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            flat = everything[begin:end].view(np.ndarray).view(kinds[entry["dtype"]])
            if len(flat) != math.prod(entry["shape"]):
                raise ValueError(f"{name} has {len(flat)} numbers")
            found[name] = flat.reshape(entry["shape"])
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{path} holds no readable arrays ({error}). Package the release again."
        ) from error
    return found
