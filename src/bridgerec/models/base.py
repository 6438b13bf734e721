"""The contract of every candidate: histories in, scores out.

A candidate may use user ids inside `fit`; it may not need them to answer.  So a person who
arrived a minute ago and a training user take the same road, offline and online.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bridgerec.config import Compression, Model, Space, import_class, wrong_keys
from bridgerec.data.dataset import Catalogue, Histories, Training
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.models.compression import compress, expand
from bridgerec.runtime import atomic_folder, read_json, write_json

Arrays = dict[str, NDArray[Any]]


class CandidateConfig(BaseModel):
    """Base of the typed options of a candidate."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Candidate(ABC):
    """A model that competes.

    Subclasses set `config_class`, and implement `fit`, `score`, `arrays` and `restore`.
    `random` says whether training draws random numbers (then several seeds are run);
    `uses_vectors` whether `Training.vectors` must be there; `quick` that fitting takes seconds
    (counts, closed forms), so that `update` fits anew, and `slow` that it takes minutes, so that
    fits run side by side.  `space` holds the options that
    `bridgerec tune` tries; `effort` names the one that says how long training takes, of which a
    trial gets a part first.
    """

    config_class: ClassVar[type[CandidateConfig]] = CandidateConfig
    random: ClassVar[bool] = False
    uses_vectors: ClassVar[bool] = False
    quick: ClassVar[bool] = False
    slow: bool = False
    space: ClassVar[Space] = {}
    effort: ClassVar[str | None] = None

    def __init__(self, config: CandidateConfig | None = None, seed: int = 0) -> None:
        self.config: Any = config or self.config_class()
        self.seed = seed
        self.domains: tuple[str, ...] = ()
        self.offsets: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self.catalogue = ""
        self.event_kinds: tuple[str, ...] = ()
        self.folder = Path()  # where it was loaded from
        self.loaded: Mapping[Path, Candidate] = {}  # while it is restored: others, by their folders
        self.compression = Compression()

    def train(self, training: Training) -> None:
        """Fit on the training rows and remember the shape of the catalogue."""
        self._shape(training.catalogue.domains, training.catalogue.offsets)
        self.catalogue = training.catalogue.fingerprint
        self.event_kinds = training.event_kinds
        if self.uses_vectors and training.vectors is None:
            raise ArtifactError(f"{type(self).__name__} needs item vectors; run the embed stage.")
        self.fit(training)
        self._round()

    def update(self, known: Training) -> None:
        """Take in what was logged since training; `known` are all rows up to now, the training
        rows among them."""
        self.refresh(known)
        self._round()

    def refresh(self, known: Training) -> None:
        """The model's part of `update`.  Of slow models the learned weights stay, what they look
        up is renewed."""
        if self.quick:
            self.fit(known)

    def _round(self) -> None:
        if self.compression != Compression():  # what is judged and served is what is stored
            self.restore(expand(compress(self.arrays(), self.compression)))

    def _shape(self, domains: tuple[str, ...], offsets: NDArray[np.int64]) -> None:
        self.domains, self.offsets = tuple(domains), offsets

    def block(self, domain: str) -> slice:
        """The index range of one domain's items."""
        i = self.domains.index(domain)
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def domain_of(self, items: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The number of the domain of each item index; -1 stays -1."""
        return np.searchsorted(self.offsets, items, side="right") - 1

    @property
    def tells_kinds(self) -> bool:
        """Whether `Histories.wanted` makes a difference."""
        return False

    @property
    def n_items(self) -> int:
        return int(self.offsets[-1])

    @abstractmethod
    def fit(self, training: Training) -> None:
        """Learn from the training rows; every random draw comes from `self.seed`."""

    @abstractmethod
    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        """Scores of the target's items, shape (batch, items of the target), higher is better.

        Seen items are not masked here.  Empty histories are allowed and must give finite
        scores.  Several threads may ask at once.
        """

    def cross_score(
        self, histories: Histories, target: str, users: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Scores for people of the validation part, shape as of `score`.

        A candidate that learns from that part (a blend) answers with what it learned from others.
        """
        return self.score(histories, target)

    def contributions(
        self, histories: Histories, target: str, items: NDArray[np.int64]
    ) -> NDArray[np.float32] | None:
        """What each history entry adds to the scores of `items` (global indices of the target),
        shape (len(items), total length); with the score of an empty history they sum to the score.

        None: the score is no such sum.
        """
        return None

    @abstractmethod
    def arrays(self) -> Arrays:
        """The learned numbers, to be stored as safetensors."""

    @abstractmethod
    def restore(self, arrays: Arrays) -> None:
        """Take the learned numbers back."""

    def save(self, path: Path) -> None:
        """Write `model.safetensors` and `model.json` into the folder `path`, atomically."""
        from safetensors.numpy import save_file

        with atomic_folder(path) as temporary:
            arrays = {
                k: np.ascontiguousarray(v)
                for k, v in compress(self.arrays(), self.compression).items()
            }
            save_file(arrays, temporary / "model.safetensors")
            write_json(
                temporary / "model.json",
                {
                    "use": f"{type(self).__module__}:{type(self).__name__}",
                    "config": self.config.model_dump(mode="json"),
                    "seed": self.seed,
                    "compression": self.compression.model_dump(mode="json"),
                    "catalogue": self.catalogue,
                    "event_kinds": list(self.event_kinds),
                    "domains": list(self.domains),
                    "offsets": self.offsets.tolist(),
                },
            )


def under(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def find_class(use: str) -> type[Candidate]:
    """The candidate class of a dotted path "package.module:Class".

    Raises:
        ConfigError: there is no such module or class, or it is not a candidate.
    """
    return import_class(use, Candidate, "models")  # type: ignore[type-abstract]


def build(name: str, model: Model, seed: int = 0) -> Candidate:
    """An untrained candidate from its entry in `params.yaml`."""
    found = find_class(model.use)
    try:
        candidate = found(found.config_class.model_validate(model.options), seed)
        candidate.compression = model.compression
        return candidate
    except ValidationError as error:
        keys = wrong_keys(error)
        raise ConfigError(f"models.{name}: {keys}") from error


def load(path: Path, loaded: Mapping[Path, Candidate] | None = None) -> Candidate:
    """Read a trained candidate from a folder.

    A blend takes its members from those that are `loaded`, where their (resolved) folders are
    among them, and reads the others.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        meta = read_json(path / "model.json")
        # copied: the file's views may be unaligned, and then sums differ in the last bits
        arrays = {k: np.array(v) for k, v in load_file(path / "model.safetensors").items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtifactError(
            f"{path} holds no readable model ({error}). Delete the folder and train again."
        ) from error
    found = find_class(meta["use"])
    candidate = found(found.config_class.model_validate(meta["config"]), meta["seed"])
    candidate._shape(tuple(meta["domains"]), np.array(meta["offsets"], dtype=np.int64))
    candidate.catalogue = meta["catalogue"]
    candidate.event_kinds = tuple(meta.get("event_kinds", ()))
    candidate.folder, candidate.loaded = path, loaded or {}
    candidate.compression = Compression(**meta.get("compression", {}))
    candidate.restore(expand(arrays))
    candidate.loaded = {}  # or all of them would stay in memory as long as one
    return candidate


def check_catalogue(candidate: Candidate, catalogue: Catalogue) -> None:
    """Raise `ArtifactError` when model and catalogue are not of the same preparation."""
    same = candidate.domains == catalogue.domains and np.array_equal(
        candidate.offsets, catalogue.offsets
    )
    if not same:
        known, found = (
            dict(zip(x.domains, np.diff(x.offsets).tolist(), strict=True))
            for x in (candidate, catalogue)
        )
        raise ArtifactError(
            f"the model knows {known} items, the catalogue has {found}. "
            "Train again with this catalogue."
        )
    if candidate.catalogue != catalogue.fingerprint:
        raise ArtifactError(
            "the model was trained with as many items, but other ones, than the catalogue has. "
            "Train again with this catalogue."
        )
