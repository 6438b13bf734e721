"""Do the images that a catalogue names exist?"""

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from bridgerec.validation.finding import Finding


def check_images(name: str, items: pl.DataFrame, folder: Path, n: int) -> Iterator[Finding]:
    """A warning about paths in `image` that are no file; `folder` holds the catalogue, where
    relative paths start.  An item without a path has no image, which is no fault.

    `n` examples are shown.
    """
    paths = items["image"].str.strip_chars().to_list()
    named = [place for place, path in enumerate(paths) if path]
    missing = [place for place in named if not os.path.isfile(folder / paths[place])]
    if missing:
        yield Finding(
            name, "items", "missing_images", "warning",
            "the catalogue names images that do not exist",
            "Write paths relative to the catalogue's folder and download what is only an address; "
            "these items count as items without an image",
            len(missing), len(named),
            [
                {"row": place + 1, "item_id": items["item_id"][place], "image": paths[place]}
                for place in missing[:n]
            ],
        )  # fmt: skip
