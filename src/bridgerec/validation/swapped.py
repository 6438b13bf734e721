"""Are the columns of users and items exchanged?  Ids may be numbers that both have."""

import polars as pl

_MOST = 0.5  # of the rows
_WHOLE, _PART = 0.99, 0.9  # of the catalogue's range
_ENOUGH = 100  # of so many items by chance not even one in a thousand tables leaves a tenth out


def looks_swapped(rows: pl.DataFrame, catalogue: pl.Series, tolerance: float) -> bool:
    """Do the user ids fit the catalogue's ids, and the item ids not as well?

    More than `tolerance` of the item ids are unknown and hardly a user id is; or all are known, as
    numbers from 1 on are, but the items end long before the catalogue does, and the users with it.
    Numbers of about as many users as items do not tell.
    """
    known = catalogue.drop_nulls().unique()
    users, items = (_among(rows[column], known) for column in ("user_id", "item_id"))
    if users <= _MOST or items < _MOST:
        return users > _MOST
    if users < 1 - tolerance:
        return False
    if items < 1 - tolerance:
        return True
    numbers = known.cast(pl.Int64, strict=False)
    if numbers.null_count() or rows["item_id"].n_unique() < _ENOUGH:
        return False
    return _range(rows["user_id"], numbers) > _WHOLE and _range(rows["item_id"], numbers) < _PART


def _among(ids: pl.Series, known: pl.Series) -> float:
    """The share of the ids that are known ones."""
    return float(ids.drop_nulls().is_in(known.implode()).mean() or 0)  # type: ignore[arg-type]


def _range(ids: pl.Series, numbers: pl.Series) -> float:
    """From the least to the greatest of the ids lies this share of the numbers."""
    own = ids.cast(pl.Int64, strict=False)
    return float(numbers.is_between(own.min(), own.max()).mean())  # type: ignore[arg-type]
