"""The live release against the new winner, on today's data.

The live release answers with the models by which it was chosen (`releases/ID/judged`): they have
not seen the rows by which they were judged, and validation only moves on in time.  Cold start is no
matter of time: there only those count whose rows were hidden from these models too, or who came
since.  The models answer as they stand; items that came since then are below all that they know.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Histories, Split
from bridgerec.data.stored import read_stored
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.segments import Languages
from bridgerec.models.base import Candidate, load
from bridgerec.registry.gate import judged_people, paired_gaps
from bridgerec.registry.live_guards import Answered
from bridgerec.registry.store import Release
from bridgerec.runtime import read_json


@dataclass(frozen=True)
class AsItStands:
    """A model of another catalogue, asked about today's.

    `same`: the split is the very one it was judged on, so that a blend knows whose answers it
    learned from.
    """

    model: Candidate
    old: Catalogue
    new: Catalogue
    same: bool
    event_kinds: tuple[str, ...] = ()  # today's

    def block(self, target: str) -> slice:
        return self.new.block(target)

    def cross_score(
        self, histories: Histories, target: str, users: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        if self.same:
            return self.model.cross_score(histories, target, users)
        return self.score(histories, target)

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        """Scores of today's items of the target, (batch, items)."""
        place = self._places()
        known = histories.where(place[histories.items] >= 0)
        asked = replace(
            known,
            items=place[known.items].astype(np.int32),
            event_kind=self._kinds(known.event_kind),
            wanted=self._kinds(known.wanted),
        )
        own = self.model.score(asked, target)
        inside = place[self.new.block(target)]
        scores = np.repeat(own.min(axis=1, keepdims=True) - 1, len(inside), axis=1)
        scores[:, inside >= 0] = own[:, inside[inside >= 0] - self.old.block(target).start]
        return scores.astype(np.float32)

    def _kinds(self, kinds: NDArray[np.int8] | None) -> NDArray[np.int8] | None:
        """Today's kinds of events as the model numbers them; -1 for those it does not know."""
        if kinds is None:
            return None
        own = {name: i for i, name in enumerate(self.model.event_kinds)}
        place = np.array([*(own.get(k, -1) for k in self.event_kinds), -1], dtype=np.int8)
        return place[kinds]

    def _places(self) -> NDArray[np.int64]:
        """For each of today's items its index in the old catalogue, or -1."""
        keys = ["domain", "item_id"]
        old = self.old.items.select(keys).with_row_index("place")
        found = self.new.items.select(keys).join(old, on=keys, how="left", maintain_order="left")
        return found["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def against(workspace: Workspace, release: Release) -> list[dict[str, Any]]:
    """Per route: mean, low and high of the new winner's metric minus the live release's, paired
    over people, and who they are; `guarded` has the winner's numbers in the segments that
    `gate.guards` names, where both answered the same people.

    Raises:
        ArtifactError: the release was kept without its judged models, or they cannot be read.
    """
    params, decision = workspace.params, read_json(workspace.reports / "decision.json")
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    per_user = read_stored(workspace.reports / "evaluation" / "per_user.parquet")
    metrics = read_json(workspace.reports / "evaluation" / "metrics.json")["validation"]
    languages = Languages.of(catalogue)
    found = []
    for route, protocol in (("warm", decision["protocol"]), ("cold_start", "cold_start")):
        new = decision["routes"][route]
        rows = judged_people(per_user, protocol).filter(pl.col("candidate") == new)
        name = release.dossier["champion"]["routes"][route]
        if rows.is_empty():
            continue
        kept, values, guarded = [], [], list[dict[str, Any]]()
        for (split, target), own in rows.group_by(["split", "target"], maintain_order=True):
            rival, folder = _rival(workspace, release, name, str(split), catalogue)
            if target not in rival.old.domains:
                continue  # the live release knows nothing of this domain
            fair = np.ones(len(own), dtype=bool)
            if protocol == "cold_start" and not rival.same:
                fair = _unseen(workspace, release, folder, own["user"])
            if fair.any():
                kept.append(own.filter(pl.Series(fair)))
                theirs = _answered(workspace, rival, str(split), str(target), own["user"])
                values.append(theirs.values(params)[fair])
                if fair.all():
                    cells = metrics[split][new][target]
                    guarded += theirs.guarded(cells, str(split), route, languages, params)
        if kept:
            gap = paired_gaps(pl.concat(kept), {name: np.concatenate(values)}, params)[name]
            people = {"people": sum(map(len, kept)), "new": new, "live": name}
            told = {"route": route, "metric": params.gate.metric, "guarded": guarded}
            found.append({**told, **people, **gap})
    return found


def _rival(
    workspace: Workspace, release: Release, name: str, split: str, catalogue: Catalogue
) -> tuple[AsItStands, Path]:
    """The live release's model for a split, of that very one, else of another of its protocol; and
    the folder of that split."""
    protocol = split.split("-")[0]
    folders = [release.judged / split, *sorted(release.judged.glob(f"{protocol}*"))]
    folder = next((f for f in folders if (f / name).is_dir()), None)
    if folder is None:
        raise ArtifactError(
            f"{release.judged} holds no model {name} of the protocol {protocol}: the live release "
            "cannot be compared."
        )
    old = Catalogue.read(release.bento / "src" / "bundle" / "catalogue.parquet")
    hashes = read_json(workspace.prepared / "splits.json")
    same = hashes[split]["hash"] == release.dossier["split_hashes"].get(split)
    same = same and old.fingerprint == catalogue.fingerprint
    kinds = tuple(hashes[split].get("event_kinds", ()))
    return AsItStands(load(folder / name), old, catalogue, same, kinds), folder


def _unseen(
    workspace: Workspace, release: Release, folder: Path, users: pl.Series
) -> NDArray[np.bool_]:
    """Whose rows of the target the judged models of `folder` cannot have learned from, (users,)."""
    names = read_stored(workspace.prepared / "users.parquet")["user_id"].gather(users)
    hidden = pl.read_parquet(folder / "hidden.parquet")["user_id"]
    known = pl.read_parquet(release.bento / "src" / "bundle" / "users.parquet")["user_id"]
    return (names.is_in(hidden.implode()) | ~names.is_in(known.implode())).to_numpy()


def _answered(
    workspace: Workspace, rival: AsItStands, split: str, target: str, users: pl.Series
) -> Answered:
    """What the live release does for today's `users` of validation, in their order."""
    config, seed = workspace.params.evaluation, workspace.params.seed
    today = Split.read(workspace.prepared, split, rival.new)
    cases = today.cases("validation", target).sample(config.max_cases, seed)
    if cases.users.tolist() != users.to_list():
        raise ArtifactError(
            f"reports/evaluation is of other people than artifacts/prepared ({split}, {target}). "
            "Run the pipeline again."
        )
    ranking = evaluate(rival, cases, max(config.ks), config.batch_size, "validation")  # type: ignore[arg-type]
    return Answered(cases, today.training(), ranking.rank)
