"""From a request to a ranked list, in numpy."""

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.data.dataset import Catalogue, Histories
from bridgerec.errors import ConfigError
from bridgerec.models.base import Candidate, check_catalogue, load
from bridgerec.registry.bundle import check_bundle
from bridgerec.runtime import read_json
from bridgerec.serving.schemas import RecommendedItem, RecommendRequest, RecommendResponse, Route


@dataclass
class Recommender:
    """A loaded bundle.  `stored` holds everybody's history, row by user index."""

    release: str
    dossier: dict[str, Any]
    service: dict[str, Any]
    models: dict[Route, Candidate]  # who answers on which route
    names: dict[Route, str]
    catalogue: Catalogue
    stored: Histories
    user_index: dict[str, int]
    account_index: dict[tuple[str, str], int]
    item_index: dict[str, dict[str, int]]
    columns: dict[str, list[str]]

    @classmethod
    def open(cls, folder: Path) -> "Recommender":
        """Load a bundle after checking all its hashes.

        Raises:
            ArtifactError: a part is missing, was changed, or model and catalogue differ.
        """
        from safetensors.numpy import load_file

        manifest = check_bundle(folder)
        catalogue = Catalogue.read(folder / "catalogue.parquet")
        names: dict[Route, str] = manifest["champion"]["routes"]
        loaded = {name: load(folder / "models" / name) for name in set(names.values())}
        for model in loaded.values():
            check_catalogue(model, catalogue)
        ids = catalogue.items["item_id"].to_list()
        index = {
            d: {ids[i]: i for i in range(catalogue.block(d).start, catalogue.block(d).stop)}
            for d in catalogue.domains
        }
        users = pl.read_parquet(folder / "users.parquet")["user_id"].to_list()
        accounts = pl.read_parquet(folder / "accounts.parquet")
        return cls(
            release=manifest["release"],
            dossier=read_json(folder / "dossier.json"),
            service=manifest["service"],
            models={route: loaded[name] for route, name in names.items()},
            names=names,
            catalogue=catalogue,
            stored=Histories(**load_file(folder / "histories.safetensors")),
            user_index={user: i for i, user in enumerate(users)},
            account_index={(d, a): user for d, a, user in accounts.iter_rows()},
            item_index=index,
            columns={c: catalogue.items[c].to_list() for c in ("item_id", "title", "category")}
            if "category" in catalogue.items.columns
            else {
                "item_id": ids,
                "title": catalogue.items["title"].to_list(),
                "category": [""] * len(ids),
            },
        )

    def recommend(self, request: RecommendRequest | dict[str, Any]) -> dict[str, Any]:
        """Answer one request.

        Raises:
            ConfigError: the target is unknown, or k or the history is too long.
        """
        if isinstance(request, dict):
            request = RecommendRequest.model_validate(request)
        self._check(request)
        history, notes = self._history(request)
        block = self.catalogue.block(request.target)
        inside = history.within(block).items.tolist()
        route: Route = "warm" if inside else "cold_start" if len(history.items) else "unknown"
        asked = history.last(self.service["max_history"])
        scores = self.models[route].score(asked, request.target)[0]
        hidden = set(inside) if request.exclude_seen else set()
        own = self.item_index[request.target]
        hidden |= {own[i] for i in request.exclude if i in own}
        best = top_k(scores, [i - block.start for i in hidden], request.k)
        items = [
            RecommendedItem(
                rank=rank + 1,
                score=float(scores[i]),
                **{name: values[i + block.start] for name, values in self.columns.items()},
            )
            for rank, i in enumerate(best.tolist())
        ]
        if len(items) < request.k:
            notes.append(f"only {len(items)} items are left after exclusions")
        return RecommendResponse(
            release=self.release,
            request_id=secrets.token_hex(8),
            target=request.target,
            route=route,
            candidate=self.names[route],
            items=items,
            notes=notes,
        ).model_dump()

    def _check(self, request: RecommendRequest) -> None:
        if request.target not in self.item_index:
            raise ConfigError(
                f"unknown target {request.target!r}; the domains are {list(self.item_index)}"
            )
        if request.k > self.service["k_max"]:
            raise ConfigError(f"k = {request.k} is above the limit of {self.service['k_max']}")
        if len(request.history) > self.service["max_history"]:
            raise ConfigError(
                f"the history has {len(request.history)} items; send the newest "
                f"{self.service['max_history']}"
            )

    @property
    def clock(self) -> int | None:
        """The moment of every question: that of the newest entry the release knows of, so that
        an answer does not change by being asked later; None where the data have an order only."""
        return None if self.stored.timestamp is None else int(self.stored.timestamp.max())

    def _history(self, request: RecommendRequest) -> tuple[Histories, list[str]]:
        """One row: items oldest first, each once at its newest place; and notes."""
        history: list[tuple[int, int]] = []  # item, time
        notes, now = [], self.clock
        if request.user_id is not None:
            account = (request.user_domain or "", request.user_id)
            row = self.account_index.get(account, self.user_index.get(request.user_id))
            if row is None:
                notes.append("this user id is not known; only the history sent is used")
            else:
                stored = self.stored.batch(row, row + 1)
                time = stored.items * 0 if stored.timestamp is None else stored.timestamp
                history = list(zip(stored.items.tolist(), time.tolist(), strict=True))
        sent = [(self.item_index.get(h.domain, {}).get(h.item_id), h) for h in request.history]
        unknown = sum(i is None for i, _ in sent)
        if unknown:
            notes.append(f"{unknown} history item(s) are not in the catalogue and were ignored")
        history += [(i, h.timestamp or now or 0) for i, h in sent if i is not None]
        newest_first: dict[int, int] = {}
        for item, moment in reversed(history):
            newest_first.setdefault(item, moment)
        rows = Histories.of([[*newest_first][::-1]])
        if now is None:
            return rows, notes
        time = np.array([*newest_first.values()][::-1], dtype=np.int64)
        return replace(rows, timestamp=time, asked=np.array([now])), notes

    def known_history(self, request: RecommendRequest) -> list[list[str]]:
        """The history that an answer rested on, as [domain, item_id], for the traffic log."""
        domains, ids = self.catalogue.domains, self.columns["item_id"]
        history = self._history(request)[0].items
        kinds = self.catalogue.domain_of(history)
        return [[domains[d], ids[i]] for d, i in zip(kinds.tolist(), history.tolist(), strict=True)]


def top_k(scores: NDArray[np.float32], hidden: list[int], k: int) -> NDArray[np.int64]:
    """Columns of the k best scores, best first, equal scores by column; hidden ones left out."""
    kept = scores.copy()
    kept[hidden] = -np.inf
    k = min(k, len(scores) - len(hidden))
    if k <= 0:
        return np.empty(0, dtype=np.int64)
    best = np.argpartition(-kept, k - 1)[:k]
    return best[np.lexsort((best, -kept[best]))]
