"""Have the item vectors drifted, and is it the data that moved or the encoder that changed?

Two samples of vectors differ when people meet other things, or when the same texts get other
vectors.  Texts that occur on both sides (by the hash of their content) tell the two apart.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bridgerec.evaluation.significance import holm
from bridgerec.monitoring.classifier import two_sample

Floats = NDArray[np.floating[Any]]
Cause = Literal["none", "data", "encoder"]
MIN_AUC = 0.52  # less would not be noticed: the share of people who moved is below a few per cent
MIN_COVARIANCE = 1.1  # times what chance gives
SAME = 0.999  # cosine of one text's vectors; rounding to bfloat16 leaves .9999


@dataclass(frozen=True)
class VectorDrift:
    """`auc` in [0, 1] (0.5: alike), `centroid_shift` is 1 - cosine of the means, `covariance` the
    relative distance of the covariances (chance gives `covariance_expected`).  P-values are those
    of the single tests; `drift` is decided after Holm's correction for both."""

    auc: float
    p_value: float
    centroid_shift: float
    covariance: float
    covariance_expected: float
    covariance_p: float
    reference_rows: int
    current_rows: int
    drift: bool


@dataclass(frozen=True)
class EncoderChange:
    """Vectors of `texts` that are on both sides: the share that `moved`, the mean cosine of old
    and new (None: of another size), and the share of common nearest neighbours."""

    texts: int
    moved: float
    cosine: float | None
    neighbour_overlap: float
    changed: bool


@dataclass(frozen=True)
class VectorVerdict:
    """`cause` names what happened; `drift` is None when there are too few rows, or when the encoder
    changed between the samples; `encoder` is None without common texts."""

    cause: Cause
    drift: VectorDrift | None
    encoder: EncoderChange | None

    @property
    def words(self) -> str:
        """The verdict in plain sentences."""
        said = []
        if self.encoder is not None and self.encoder.changed:
            e = self.encoder
            how = "their size differs" if e.cosine is None else f"mean cosine {e.cosine:.3f}"
            said.append(
                f"the encoder or its whitening changed: {e.moved:.0%} of {e.texts:,} unchanged "
                f"texts have other vectors ({how}; {e.neighbour_overlap:.0%} of their nearest "
                "neighbours are the same)"
            )
        if self.drift is not None:
            d = self.drift
            said.append(
                f"{'the data moved' if d.drift else 'no drift'}: a classifier tells the samples "
                f"apart with AUC {d.auc:.3f} (0.5: it cannot; p = {d.p_value:.2g}); the mean moved "
                f"by {d.centroid_shift:.3f} (1 - cosine); covariances differ by {d.covariance:.2f} "
                f"(chance alone: {d.covariance_expected:.2f}; p = {d.covariance_p:.2g})"
            )
        else:
            said.append("whether the data moved is not judged")
        return "; ".join(said) + "."


def vector_drift(
    reference: Floats,
    current: Floats,
    alpha: float = 0.01,
    seed: int = 0,
    max_rows: int = 10_000,
) -> VectorDrift:
    """Compare samples (n, d) and (m, d) whose rows are independent draws.

    At most `max_rows` rows of each are used, drawn under `seed`.  `alpha` is the share of windows
    without drift that raise an alarm.

    Raises:
        ValueError: a sample has fewer than 10 rows, or the sizes d differ.
    """
    if min(len(reference), len(current)) < 10 or reference.shape[1] != current.shape[1]:
        raise ValueError(
            f"two samples of at least 10 rows and equal width are needed, not shapes "
            f"{reference.shape} and {current.shape}"
        )
    rng = np.random.default_rng(seed)
    one, other = (x[rng.permutation(len(x))[:max_rows]] for x in (reference, current))
    found = two_sample(one, other, rng)
    first, second = holm([found.auc_p, found.covariance_p])
    wide = found.covariance >= MIN_COVARIANCE * found.covariance_expected
    return VectorDrift(
        auc=found.auc,
        p_value=found.auc_p,
        centroid_shift=1 - _cosine(one.mean(0, np.float64), other.mean(0, np.float64)),
        covariance=found.covariance,
        covariance_expected=found.covariance_expected,
        covariance_p=found.covariance_p,
        reference_rows=len(one),
        current_rows=len(other),
        drift=(first <= alpha and found.auc >= MIN_AUC) or (second <= alpha and wide),
    )


def encoder_change(old: Floats, new: Floats, neighbours: int = 10) -> EncoderChange:
    """Compare vectors of the same texts, (n, d) and (n, e); rows that are zero in both (no text)
    do not count.

    Raises:
        ValueError: the numbers of rows differ, or fewer than 2 texts have vectors.
    """
    if len(old) != len(new):
        raise ValueError(f"the same texts are needed on both sides, not {len(old)} and {len(new)}")
    told = _told(old, new)
    if told.sum() < 2:
        raise ValueError("at least 2 texts with vectors are needed")
    a, b = _unit(old[told]), _unit(new[told])
    cosine = np.einsum("nd,nd->n", a, b) if a.shape[1] == b.shape[1] else None
    moved = 1.0 if cosine is None else float((cosine < SAME).mean())
    k = min(neighbours, len(a) - 1)
    near = [_nearest(x, k) for x in (a, b)]
    return EncoderChange(
        texts=len(a),
        moved=moved,
        cosine=None if cosine is None else float(cosine.mean()),
        neighbour_overlap=float((near[0] & near[1]).sum() / (k * len(a))),
        changed=moved > 0.01,
    )


def judge_vectors(
    reference: Floats,
    current: Floats,
    common: tuple[Floats, Floats] | None = None,
    alpha: float = 0.01,
    seed: int = 0,
    one_space: bool = False,
) -> VectorVerdict:
    """Samples of what people met, and (old, new) vectors of texts known to both sides.

    `one_space`: both samples were looked up in the new vectors, so that a changed encoder does not
    spoil their comparison.
    """
    encoder = None
    if common is not None and _told(*common).sum() > 1:
        encoder = encoder_change(*common)
    changed = encoder is not None and encoder.changed
    drift = None
    if min(len(reference), len(current)) >= 10 and (one_space or not changed):
        drift = vector_drift(reference, current, alpha, seed)
    moved = drift is not None and drift.drift
    return VectorVerdict("data" if moved else "encoder" if changed else "none", drift, encoder)


def _told(old: Floats, new: Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.any(old != 0, axis=1) | np.any(new != 0, axis=1)
    return found


def _cosine(a: Floats, b: Floats) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms > 0 else 1.0


def _unit(x: Floats) -> Floats:
    found: Floats = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return found


def _nearest(x: Floats, k: int) -> NDArray[np.bool_]:
    """Who are the k nearest of whom, (n, n); meant for a probe of some hundred texts."""
    similar = x @ x.T
    np.fill_diagonal(similar, -np.inf)
    found = np.zeros(similar.shape, dtype=bool)
    np.put_along_axis(found, np.argpartition(-similar, k - 1, axis=1)[:, :k], True, axis=1)
    return found
