"""The image files that catalogues name."""

import shutil
from pathlib import Path

import polars as pl

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue


def image_files(workspace: Workspace, catalogue: Catalogue) -> list[Path | None]:
    """Where each item's image should be, one entry per item: None where the catalogue names none.

    A relative path starts at the folder of the domain's table.
    """
    domains = workspace.params.data.domains
    folders = {name: workspace.table(domain.items).parent for name, domain in domains.items()}
    rows = catalogue.items.select("domain", pl.col("image").str.strip_chars()).iter_rows()
    return [folders[domain] / path if path else None for domain, path in rows]


def copy_images(items: pl.DataFrame, source: Path, folder: Path) -> None:
    """Copy the images below `source` that `items` names to the same places below `folder`.

    Files elsewhere (absolute paths, "../") stay where they are; what is missing, `validate` tells.
    """
    base = source.resolve()
    for path in items["image"].str.strip_chars().unique().sort():
        found = (base / path).resolve()
        if path and not Path(path).is_absolute() and found.is_relative_to(base) and found.is_file():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, place)
