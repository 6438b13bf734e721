"""Noise and push attacks on a table of interactions, with known truth.

Random, average and bandwagon attacks: Lam & Riedl (WWW 2004), Burke et al. (KDD 2006), without
ratings: a fake person meets the pushed items and, to look like everybody, fillers.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from bridgerec.errors import ConfigError

PREFIX = "fake-"  # of the fake people's ids


@dataclass(frozen=True)
class Attack:
    """`people` fake ones meet all `items` and `fillers` others each: drawn from all items alike
    (`random`), by popularity (`average`), half of them the most popular ones (`bandwagon`), or by
    popularity but everything inside one hour (`burst`).  Without a burst the rows lie anywhere
    in the `days` from the second `start` on."""

    kind: Literal["random", "average", "bandwagon", "burst"]
    people: int
    items: tuple[str, ...]
    start: int
    fillers: int = 20
    days: int = 14


def push(events: pl.DataFrame, attack: Attack, seed: int) -> pl.DataFrame:
    """The rows of the fake people, with the columns of `events` (user_id, item_id, timestamp,
    and others, which are copied from random rows).

    Raises:
        ConfigError: there are fewer items than a fake person has to meet.
    """
    rng = np.random.default_rng(seed)
    count = events["item_id"].value_counts().sort(["count", "item_id"], descending=[True, False])
    count = count.filter(~pl.col("item_id").is_in(attack.items))
    ids, times = count["item_id"].to_numpy(), count["count"].to_numpy()
    if len(ids) < attack.fillers:
        raise ConfigError(f"an attack with {attack.fillers} fillers needs as many other items, "
                          f"not {len(ids)}; lower `fillers`.")  # fmt: skip
    alike = attack.kind in ("random", "bandwagon")
    share = np.full(len(ids), 1 / len(ids)) if alike else times / times.sum()
    top = attack.fillers // 2 if attack.kind == "bandwagon" else 0
    frames = []
    for number in range(attack.people):
        rest = share.copy()
        rest[:top] = 0
        drawn = rng.choice(len(ids), attack.fillers - top, replace=False, p=rest / rest.sum())
        met = np.concatenate([attack.items, ids[:top], ids[drawn]])
        long = 3600 if attack.kind == "burst" else attack.days * 86_400
        begin = attack.start + (
            int(rng.integers(0, attack.days * 86_400)) if attack.kind == "burst" else 0
        )
        like = events[rng.integers(0, len(events), len(met))]
        frames.append(
            like.with_columns(
                pl.lit(f"{PREFIX}{number:05d}").alias("user_id"),
                pl.Series("item_id", rng.permutation(met)),
                pl.Series("timestamp", begin + np.sort(rng.integers(0, long, len(met)))),
            )
        )
    return pl.concat(frames) if frames else events.clear()


def noise(events: pl.DataFrame, level: float, seed: int) -> pl.DataFrame:
    """`level` times as many random rows as `events` has: somebody's row at its own time, but
    with an item drawn from all met ones alike."""
    rng = np.random.default_rng(seed)
    ids = events["item_id"].unique().sort()
    rows = events[rng.integers(0, len(events), round(level * len(events)))]
    return rows.with_columns(ids.gather(rng.integers(0, len(ids), len(rows))).alias("item_id"))
