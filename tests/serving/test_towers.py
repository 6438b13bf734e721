"""The served form of TwoTower against the trained model, and its short lists against full sorts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bridgerec.config import Compression
from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ArtifactError
from bridgerec.models.base import load
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.serving import coarse, towers
from bridgerec.serving import index as indexes
from bridgerec.serving.copies import inverted, listed, read_inverted
from bridgerec.serving.index import Index
from bridgerec.serving.topk import Best
from bridgerec.serving.towers import ServedTowers, load_served, mapped

ROWS = [[3, 31, 7, 45], [], [31], list(range(40)), [0, 1, 2], [59], [30, 31, 32, 33]]


def trained(training: Training, path: Path, **options: object) -> TwoTower:
    config = TwoTowerConfig.model_validate({"epochs": 2, "batch_size": 32, **options})
    model = TwoTower(config, seed=3)
    model.compression = Compression()
    model.train(training)
    model.save(path)
    return model


def asked(training: Training, timed: bool) -> Histories:
    rows = Histories.of(ROWS)
    time = training.histories.timestamp
    assert time is not None
    if not timed:
        return rows
    late = int(time.max()) + 100
    stamps = np.full(len(rows.items), late - 50)
    return replace(rows, timestamp=stamps, asked=np.full(len(rows), late))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("attention", [False, True])
def test_scores_are_those_of_the_model(
    training: Training, tmp_path: Path, timed: bool, attention: bool
) -> None:
    model = trained(training, tmp_path / "m", attention=attention, max_history=6)
    served = load_served(tmp_path / "m")
    assert isinstance(served, ServedTowers)
    rows = asked(training, timed)
    for target in ("left", "right"):
        expected = model.score(rows, target)
        np.testing.assert_allclose(served.score(rows, target), expected, rtol=2e-4, atol=2e-4)
        hidden = [[0, 5], [], [29], [], [], list(range(30)), [1]]
        found = served.top(rows, target, [5] * len(ROWS), hidden)
        for best, row, own in zip(found, expected, hidden, strict=True):
            assert len(best.places) == min(5, 30 - len(own))
            assert not set(best.places.tolist()) & set(own)
            row = row.copy()
            row[own] = -np.inf
            np.testing.assert_allclose(
                best.scores, np.sort(row)[::-1][: len(best.scores)], rtol=2e-4, atol=2e-4
            )


def test_a_moment_in_the_past_is_scored_without_an_index(
    training: Training, tmp_path: Path
) -> None:
    model = trained(training, tmp_path / "m")
    served = load_served(tmp_path / "m")
    assert isinstance(served, ServedTowers)
    rows = replace(asked(training, True), asked=np.full(len(ROWS), 1_610_000_000))
    assert not served.settled(rows)
    np.testing.assert_allclose(
        served.score(rows, "left"), model.score(rows, "left"), rtol=2e-4, atol=2e-4
    )


def test_a_compressed_model_and_a_copy_of_a_served_one(training: Training, tmp_path: Path) -> None:
    model = trained(training, tmp_path / "m")
    model.compression = Compression(precision="int8")
    model.save(tmp_path / "small")
    reference, served = load(tmp_path / "small"), load_served(tmp_path / "small")
    rows = asked(training, True)
    np.testing.assert_allclose(
        served.score(rows, "left"), reference.score(rows, "left"), rtol=2e-4, atol=2e-4
    )
    with pytest.raises(ArtifactError, match="does not learn"):
        served.fit(training)


def test_the_vectors_are_a_map_of_the_file(training: Training, tmp_path: Path) -> None:
    trained(training, tmp_path / "m")
    arrays = mapped(tmp_path / "m" / "model.safetensors")
    assert not arrays["items"].flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        arrays["items"][0, 0] = 1
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match="no readable arrays"):
        load_served(tmp_path / "m")


def clustered(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors with copies among them, extras and questions near some."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 24)).astype(np.float32)
    vectors[n // 2 :] = vectors[: n - n // 2] + 0.3 * vectors[n // 2 :]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    extras = 0.02 * rng.gamma(2, 2, (n, 2)).astype(np.float32)
    twins = rng.choice(n, n // 4, replace=False)
    vectors[twins[::2]], extras[twins[::2]] = vectors[twins[0]], extras[twins[0]]
    queries = 14 * vectors[rng.integers(n, size=40)] + rng.standard_normal((40, 24))
    return vectors, extras, queries.astype(np.float32), 14 * rng.random((40, 2)).astype(np.float32)


def fully(
    vectors: np.ndarray,
    extras: np.ndarray,
    query: np.ndarray,
    weight: np.ndarray,
    hidden: list[int],
) -> np.ndarray:
    """All places by exact score, ties by place."""
    exact = (vectors * query).astype(np.float64).sum(1)
    exact += (extras * weight).astype(np.float64).sum(1)
    scores = exact.astype(np.float32)
    scores[hidden] = -np.inf
    return np.lexsort((np.arange(len(scores)), -scores))


@pytest.mark.parametrize("way", ["product", "half", "coarse", "one by one", "given way"])
def test_short_lists_equal_full_sorts_by_every_way(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half precision and the 8-bit copy must prove themselves complete or give way."""
    narrowed = way not in ("product", "half")
    if narrowed and not coarse.possible():
        pytest.skip("this processor does not multiply 8-bit integers")
    monkeypatch.setattr(indexes, "SMALL", 100)
    monkeypatch.setattr(indexes, "FEW", 100)
    monkeypatch.setattr(indexes, "ALONE", 100 if way == "one by one" else 1)
    monkeypatch.setattr(indexes, "MANY", 0 if way == "given way" else 8)
    monkeypatch.setattr(coarse, "CHUNK", 1024)  # the last one is not full
    monkeypatch.setattr(indexes, "BUFFER", 60_000)  # several matrix products
    vectors, extras, queries, weights = clustered(3000)
    index = Index(vectors, extras)
    if way != "product":
        monkeypatch.setattr(indexes, "possible", lambda: narrowed)
        index.quicken()
    if way in ("coarse", "one by one"):  # nothing comes from the way that the others fall back to
        monkeypatch.setattr(index, "_all", lambda *_: pytest.fail("not proved"))
    # the extras as the index keeps them: their mean is taken off and added again
    kept = index.extras + index.shift
    rng = np.random.default_rng(1)
    hidden = [rng.choice(3000, size=h % 30, replace=False).tolist() for h in range(40)]
    ks = [1 + i % 10 for i in range(40)]
    found = index.top(queries, weights, ks, hidden)
    for i, best in enumerate(found):
        order = fully(vectors, kept, queries[i], weights[i], hidden[i])
        assert best.places.tolist() == order[: ks[i]].tolist()


def test_an_answer_does_not_depend_on_who_else_asks() -> None:
    vectors, extras, queries, weights = clustered(30_000)
    index = Index(vectors, extras)
    hidden: list[list[int]] = [[]] * 40
    before = index.top(queries, weights, [20] * 40, hidden)
    index.quicken()
    together = index.top(queries, weights, [20] * 40, hidden)

    def same(one: Best, other: Best) -> bool:
        return np.array_equal(one.places, other.places) and np.array_equal(one.scores, other.scores)

    for i in range(40):
        alone = slice(i, i + 1)
        assert same(index.top(queries[alone], weights[alone], [20], [[]])[0], together[i])
    assert all(map(same, before, together))
    three = index.top(queries[:7], weights[:7], [20] * 7, hidden[:7])
    assert all(same(a, b) for a, b in zip(three, together, strict=False))


def test_an_inverted_file_finds_nearly_all(tmp_path: Path) -> None:
    import faiss

    vectors, extras, queries, weights = clustered(20_000)
    exact = Index(vectors, extras)
    path = tmp_path / "left.1.faiss"
    faiss.write_index(inverted(listed(vectors, exact.extras), lists=64), str(path))
    index = Index(vectors, extras, read_inverted(path, vectors.shape))
    index.probe(24)
    hidden = [best.places[:2].tolist() for best in exact.top(queries, weights, [2] * 40, [[]] * 40)]
    wanted = exact.top(queries, weights, [10] * 40, hidden)
    found = index.top(queries, weights, [10] * 40, hidden)
    scores = [(a.scores, b.scores) for a, b in zip(found, wanted, strict=True)]
    reached = [np.isin(b, a).mean() for a, b in scores]
    assert (
        np.mean(reached) > 0.9
    )  # random vectors are the hard case; benchmarks say how trained ones fare
    for i, best in enumerate(found):
        assert not set(best.places.tolist()) & set(hidden[i])
    with pytest.raises(ArtifactError, match="holds 20000 items"):
        read_inverted(path, vectors[:50].shape)
    faiss.write_index(faiss.index_factory(32, "IVF1,SQ8"), str(path))
    with pytest.raises(ArtifactError, match="of an older kind"):
        read_inverted(path, vectors.shape)


def test_numbers_that_are_not_finite_are_refused() -> None:
    vectors, extras, *_ = clustered(100)
    vectors[3, 0] = np.nan
    with pytest.raises(ArtifactError, match="not finite"):
        Index(vectors, extras)


def test_large_targets_get_their_inverted_file_before_a_bundle_is_sealed(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, rows = tmp_path / "bundle", asked(training, True)
    trained(training, bundle / "models" / "two_tower")
    assert rows.timestamp is not None
    stored = {name: getattr(rows, name) for name in ("indptr", "items", "weights", "timestamp")}
    save_file(stored, bundle / "histories.safetensors")
    towers.prepare(bundle)
    assert not list(bundle.rglob("*.faiss"))  # nothing is large here
    plain = load_served(bundle / "models" / "two_tower")
    monkeypatch.setattr(towers, "LARGE", 20)
    towers.prepare(bundle)
    assert {path.name for path in bundle.rglob("*.faiss")} == {"left.1.faiss", "right.1.faiss"}
    served = load_served(bundle / "models" / "two_tower")
    assert isinstance(served, ServedTowers)
    assert isinstance(plain, ServedTowers)
    hidden: list[list[int]] = [[0]] * len(ROWS)
    # one list here, and all of it is scored again: the exact answer
    for one, other in zip(
        served.top(rows, "left", [5] * len(ROWS), hidden),
        plain.top(rows, "left", [5] * len(ROWS), hidden),
        strict=True,
    ):
        assert one.places.tolist() == other.places.tolist()


@pytest.mark.skipif(not coarse.possible(), reason="no 8-bit products")
@pytest.mark.parametrize("weight", [0.0, 1.0, 1e4])
def test_the_error_of_the_8_bit_copy_is_within_its_bound(weight: float) -> None:
    """Also where one coordinate or the extras are far larger than all else, or all is nought."""
    vectors, extras, queries, weights = clustered(5000)
    vectors[:, 3] *= 30
    queries[1], weights[1] = 0, 0
    copy = coarse.Coarse(vectors, extras)
    asked_ = copy.ask(queries, weights * np.float32(weight))
    with copy:
        found = copy.scores(asked_.keys, [])
        scores = found.scores[:5000, :40].astype(np.float64) * asked_.unit
    exact = queries.astype(np.float64) @ vectors.T + weight * weights.astype(np.float64) @ extras.T
    off = np.abs(scores - exact.T)
    assert (off <= asked_.error).all()
    assert off.max() > 0  # it is no copy of the exact ones
