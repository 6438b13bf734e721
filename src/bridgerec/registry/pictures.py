"""The pictures of a bundle, so that the service can show what it recommends."""

import zipfile
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.data.images import image_files

MEDIA = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}


def write_pictures(workspace: Workspace, folder: Path) -> None:
    """Write `pictures.zip` into a bundle that has its catalogue: INDEX.png and so on, by item.

    Left out are files of other kinds and those above `service.max_picture_bytes`; without any
    picture there is no archive.
    """
    catalogue = Catalogue.read(folder / "catalogue.parquet")
    most, found = workspace.params.service.max_picture_bytes, {}
    for item, path in enumerate(image_files(workspace, catalogue)):
        if path is not None and path.suffix.lower() in MEDIA and path.is_file():
            content = path.read_bytes()
            if len(content) <= most:
                found[f"{item}{path.suffix.lower()}"] = content
    if found:
        with zipfile.ZipFile(folder / "pictures.zip", "w", zipfile.ZIP_STORED) as archive:
            for name, content in found.items():  # ZipInfo: no time of day in a stage's output
                archive.writestr(zipfile.ZipInfo(name), content)
