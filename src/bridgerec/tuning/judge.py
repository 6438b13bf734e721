"""What a set of options is worth, by people of the validation part alone.

The people are divided once, by a seeded draw: the search sees the larger share, and its result
is judged by the others.  The best of many trials looks better than it is by the people who chose
it (Cawley & Talbot 2010, "On over-fitting in model selection").
"""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Cases, Catalogue, Split, Training
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.models.base import Candidate, build
from bridgerec.runtime import file_hash, read_json
from bridgerec.training.device import training_device
from bridgerec.tuning.space import Options

People = Literal["search", "early", "held_back"]  # early: a share of those of the search
Floats = NDArray[np.float64]


class Judge:
    """Trains one candidate with given options and measures it.

    Raises:
        ArtifactError: something of the stages before is missing, or there are too few people.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.params, self.name = workspace.params, name
        tune, catalogue = self.params.tune, Catalogue.read(workspace.prepared / "items.parquet")
        described = read_json(workspace.prepared / "splits.json")
        protocols = tune.protocols or (self.params.gate.protocol,)
        self.random = build(name, self.params.models[name]).random
        device = training_device(self.params.train.device)
        vectors = read_vectors(workspace, len(catalogue))
        images = read_images(workspace, len(catalogue))
        self.data = {"vectors": file_hash(workspace.vectors / "vectors.safetensors")}
        self.trainings: list[Training] = []
        asked: list[tuple[int, Cases]] = []  # number of the training, cases
        for split_name, info in described.items():
            if split_name.split("-")[0] not in protocols:
                continue
            split = Split.read(workspace.prepared, split_name, catalogue)
            self.data[split_name] = info["hash"]
            for target in split.targets:
                asked.append((len(self.trainings), split.cases("validation", target)))
            training = replace(split.training(), vectors=vectors, images=images, device=device)
            self.trainings.append(training)
        everybody = np.concatenate([[0], *(cases.users for _, cases in asked)])
        draw = np.random.default_rng(self.params.seed).random(int(everybody.max()) + 1)
        early = 1 - (tune.early_share or 0) * (1 - tune.held_back)
        chosen = {
            "search": draw >= tune.held_back,
            "early": draw >= early,
            "held_back": draw < tune.held_back,
        }
        self.asked = {
            people: [(i, cases.take(np.flatnonzero(member[cases.users]))) for i, cases in asked]
            for people, member in chosen.items()
        }
        for people in ("search", "held_back"):
            if sum(len(cases) for _, cases in self.asked[people]) < 2:
                raise ArtifactError(
                    f"the validation part of {list(self.data)[1:]} has too few people for a search "
                    f"({people} would have fewer than two); prepare with a larger "
                    "split.validation_fraction, or name others in tune.protocols."
                )
        if images is not None:
            self.data["images"] = file_hash(workspace.vectors / "images.safetensors")

    def train(self, options: Options, seed: int = 0) -> list[Candidate]:
        """One model per split; `seed` is added to that of params.yaml."""
        model = self.params.models[self.name].model_copy(update=options)
        found = []
        for training in self.trainings:
            candidate = build(self.name, model, self.params.seed + seed)
            candidate.train(training)
            found.append(candidate)
        return found

    def values(self, models: list[Candidate], people: People) -> Floats:
        """What each person adds, shape (people,): the mean over people is the mean over splits and
        targets of the metric's mean."""
        metric = self.params.tune.metric
        k, size = int(metric.split("@")[1]), self.params.evaluation.batch_size
        groups = [(i, cases) for i, cases in self.asked[people] if len(cases)]
        users, found = [], []
        for i, cases in groups:
            rank = evaluate(models[i], cases, k, size, "validation").rank
            per_case = case_metrics(rank, cases.relevant.indptr, (k,))[metric]
            users.append(cases.users)
            found.append(per_case / (len(cases) * len(groups)))
        if not groups:
            return np.zeros(0)
        distinct, number = np.unique(np.concatenate(users), return_inverse=True)
        return np.bincount(number, np.concatenate(found)).astype(np.float64) * len(distinct)
