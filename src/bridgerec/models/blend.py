"""Blend: several trained candidates, mixed with weights that depend on what is known of a person.

Stacking (Wolpert 1992; feature-weighted, Sill et al. 2009).  The members are trained on the
training rows by their own stages; the blend learns how much to trust whom (`training.mixing`) on
the validation part: per length of the history in the target, and by how much somebody followed
trends so far.  Scores are standardised per person, so that a member that is missing leaves
the others' mixture as it was.  A small network then looks again at the first items of the mixture
(`training.reranking`), where people it did not learn from say that this helps.

Validation is also where the gate compares candidates.  Hence the people are dealt into folds, and
`cross_score` answers for each fold with weights that were learned from the others.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.data.dataset import Cases, Histories, Training
from bridgerec.errors import ArtifactError
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, load, under
from bridgerec.models.scores import Floats, Mix, standardised
from bridgerec.models.second_look import SecondLook, person_of
from bridgerec.models.trends import Trends
from bridgerec.training.choices import Choices, Picked, pick
from bridgerec.training.mixing import Mixture, learn_mixture, sharpen

FOLDS = 3
HALF_LIVES = (3.0, 15.0, 90.0)  # days; people are told apart by the first
RECENT = 5  # entries
MOST = 3.0  # deviations: who is further out counts as there


class BlendConfig(CandidateConfig):
    """`members`: where each trained candidate lies, relative to the blend's own folder.
    `edges`: lengths of the target history at which new weights begin.  Weights are learned from
    at most `max_cases` people per target, each with the `top` items of every member and `others`
    at random.  Members below `least` of the largest mean weight are left out.  The network looks
    at the first `rerank` items (0: there is none), unless all are asked at one moment."""

    members: dict[str, str] = Field({})
    edges: tuple[int, ...] = (1, 5, 10)
    max_cases: int = Field(3000, ge=10)
    top: int = Field(300, ge=1)
    others: int = Field(400, ge=1)
    regularization: float = Field(0.001, ge=0)
    steps: int = Field(60, ge=1)
    sharpen: bool = True
    least: float = Field(0.02, ge=0, lt=1)
    rerank: int = Field(300, ge=0)


class Blend(Candidate):
    """score = sum over members of w(target, history) * standardised score, plus what the network
    adds to the first items."""

    config_class = BlendConfig

    def fit(self, training: Training) -> None:
        raise ArtifactError("a blend is learned from validation, by the blend stage.")

    def learn(self, members: dict[str, Candidate], training: Training, asked: list[Cases]) -> None:
        """Learn the weights for the targets of `asked` (validation), members being trained.

        Raises:
            ArtifactError: there is no member, or nobody was asked.
        """
        if not members or not any(len(cases) for cases in asked):
            raise ArtifactError("a blend needs trained members and people in validation.")
        self._shape(training.catalogue.domains, training.catalogue.offsets)
        self.catalogue = training.catalogue.fingerprint
        self.event_kinds = training.event_kinds
        self.members = dict(sorted(members.items()))  # as JSON keeps them: weights go by place
        self.trends = Trends.fit(training, HALF_LIVES)
        self.mixtures: dict[str, list[Mixture]] = {}
        self.scale: dict[str, Floats] = {}
        self.second = SecondLook(self.config.rerank)
        usual: list[Floats] = []
        learned: dict[str, tuple[Choices, NDArray[np.int64]]] = {}
        for cases in asked:
            if len(cases) == 0:
                continue
            raw = self._features(cases.histories)
            spread = raw.std(0)
            self.scale[cases.target] = np.stack([raw.mean(0), np.where(spread > 0, spread, 1)])
            choices, people = self._choices(cases)
            found, fold = self._mixture(choices), people % FOLDS
            folds = [
                self._mixture(choices.take(fold != i)) if (fold != i).any() else found
                for i in range(FOLDS)
            ]
            self.mixtures[cases.target] = [*folds, found]
            usual.append(found.weights(choices.segment, choices.features).mean(0))
            if self.config.rerank and cases.histories.asked is None:
                learned[cases.target] = choices, fold
        kept = np.max([w / w.max() for w in usual], axis=0) >= self.config.least
        self._drop(kept)
        # Where all are asked at one moment, other people share its fashions too: what they would
        # say of a network is no sign that it holds at the next moment.
        for target, (choices, fold) in learned.items():
            self.second.learn(
                target, self.block(target), self.mixtures[target], choices.only(kept), fold,
                self.trends, self.seed,
            )  # fmt: skip

    @property
    def tells_kinds(self) -> bool:
        return any(member.tells_kinds for member in self.members.values())

    def refresh(self, known: Training) -> None:
        self.follow(known)
        for member in self.members.values():
            member.update(known)

    def follow(self, known: Training) -> None:
        """The blend's own part of `update`, without its members'."""
        self.trends = Trends.fit(known, HALF_LIVES)

    def _mixture(self, choices: Choices) -> Mixture:
        c = self.config
        found = learn_mixture(choices, len(c.edges) + 1, c.regularization, c.steps)
        return sharpen(found, choices) if c.sharpen else found

    def _drop(self, kept: NDArray[np.bool_]) -> None:
        names = [name for name, keep in zip(self.members, kept, strict=True) if keep]
        self.members = {name: self.members[name] for name in names}
        self.config = self.config.model_copy(
            update={"members": {n: p for n, p in self.config.members.items() if n in names}}
        )
        for target, mixtures in self.mixtures.items():
            self.mixtures[target] = [m.only(kept) for m in mixtures]

    def _choices(self, cases: Cases) -> tuple[Choices, NDArray[np.int64]]:
        """What the weights are learned from, and the people it is about."""
        c, rng, block = self.config, np.random.default_rng(self.seed), self.block(cases.target)
        chosen = np.sort(rng.permutation(len(cases))[: c.max_cases])
        picked: list[Picked] = []
        for start in range(0, len(chosen), 256):
            rows = chosen[start : start + 256]
            histories, relevant = cases.histories.take(rows), cases.relevant.take(rows)
            seen = histories.within(block)
            scores = np.stack(
                [standardised(m.score(histories, cases.target)) for m in self.members.values()],
                axis=2,
            )
            hidden = np.zeros(scores.shape[:2], dtype=bool)
            hidden[seen.rows, seen.items - block.start] = True
            right = np.zeros_like(hidden)
            right[relevant.rows, relevant.items - block.start] = True
            picked += pick(scores, hidden, right, c.top, c.others, rng)
        histories = cases.histories.take(chosen)
        told = self._told(histories, cases.target)
        return Choices.of(picked, *told, histories.moment), cases.users[chosen]

    def _told(self, histories: Histories, target: str) -> tuple[NDArray[np.int64], Floats]:
        """The segment and the scaled features of each row."""
        known = histories.within(self.block(target)).lengths
        mean, spread = self.scale[target]
        segment = np.searchsorted(self.config.edges, known, side="right")
        scaled = (self._features(histories) - mean) / spread
        return segment, np.clip(scaled, -MOST, MOST).astype(np.float32)

    def _features(self, histories: Histories) -> Floats:
        """Per row: how popular its items and its newest items were when it met them, how long it
        is, and how long ago its newest entry was when the question came; shape (n, 4)."""
        n, length = len(histories), np.maximum(histories.lengths, 1)
        popular = np.zeros(len(histories.items), dtype=np.float32)
        quiet = np.zeros(n)
        if histories.timestamp is not None:
            popular = self.trends.of_entries(0, histories.timestamp, histories.items)
            if histories.asked is not None:
                filled = histories.lengths > 0
                newest = histories.timestamp[histories.indptr[1:][filled] - 1]
                quiet[filled] = np.log1p(np.maximum(histories.asked[filled] - newest, 0) / 86_400)
        new = histories.age < RECENT
        found = [
            np.bincount(histories.rows, popular, n) / length,
            np.bincount(histories.rows, popular * new, n) / np.minimum(length, RECENT),
            np.log1p(histories.lengths),
            quiet,
        ]
        return np.stack(found, axis=1).astype(np.float32)

    def mix(self, histories: Histories, target: str, users: NDArray[np.int64] | None = None) -> Mix:
        """Their answer, to which the members' standardised scores are yet to be added in order; for
        `users` of validation by what was learned from others."""
        n, block = len(histories), self.block(target)
        size = block.stop - block.start
        if target not in self.mixtures:  # nobody was asked there: all alike
            return Mix(np.ones((n, len(self.members)), dtype=np.float32), size)
        which = np.full(n, FOLDS) if users is None else users % FOLDS
        segment, features = self._told(histories, target)
        every = np.stack([m.weights(segment, features) for m in self.mixtures[target]])
        weights = every[which, np.arange(n)]
        if target not in self.second.rerankers:
            return Mix(weights, size)

        def after(mixed: Floats, members: list[Floats]) -> Floats:
            person = person_of(segment, features)
            return self.second(target, block, mixed, members, histories, which, person, self.trends)

        return Mix(weights, size, after)

    def _mixed(self, mix: Mix, histories: Histories, target: str) -> Floats:
        for member in self.members.values():
            mix.add(standardised(member.score(histories, target)))
        return mix.scores()

    def score(self, histories: Histories, target: str) -> Floats:
        return self._mixed(self.mix(histories, target), histories, target)

    def cross_score(self, histories: Histories, target: str, users: NDArray[np.int64]) -> Floats:
        return self._mixed(self.mix(histories, target, users), histories, target)

    def arrays(self) -> Arrays:
        found: Arrays = {f"trends/{n}": a for n, a in self.trends.arrays().items()}
        for target, mixtures in self.mixtures.items():
            found[f"a/{target}"] = np.stack([m.a for m in mixtures])
            found[f"b/{target}"] = np.stack([m.b for m in mixtures])
            found[f"factor/{target}"] = np.stack([m.factor for m in mixtures])
            found[f"scale/{target}"] = self.scale[target]
        return found | {f"second/{n}": a for n, a in self.second.arrays().items()}

    def restore(self, arrays: Arrays) -> None:
        self.trends = Trends.of(under(arrays, "trends/"))
        self.scale = under(arrays, "scale/")
        a, b = under(arrays, "a/"), under(arrays, "b/")
        self.members, present = {}, []
        for place, (name, path) in enumerate(sorted(self.config.members.items())):
            try:
                own = self.folder / path
                self.members[name] = self.loaded.get(own.resolve()) or load(own)
                present.append(place)
            except ArtifactError as error:
                warnings.warn(f"the blend goes on without {name}: {error}", stacklevel=2)
        if not self.members:
            raise ArtifactError(f"{self.folder}: none of the blend's members can be read.")
        self.second = SecondLook(self.config.rerank)
        if len(present) == len(self.config.members):  # it knows them all, or nothing
            self.second.restore(under(arrays, "second/"))
        factor = under(arrays, "factor/")
        self.mixtures = {
            t: [Mixture(*parts).only(present) for parts in zip(a[t], b[t], factor[t], strict=True)]
            for t in a
        }
