"""The bundle's pictures, read one by one from their archive."""

import zipfile
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from bridgerec.registry.pictures import MEDIA


class Pictures:
    """`names` by global item index; empty where the bundle has no `pictures.zip`.  `release` tells
    this catalogue's numbers from those of another release beside it."""

    def __init__(self, path: Path | None, release: str = "") -> None:
        self._release = quote(release, safe="")
        self._lock = Lock()
        self._archive = zipfile.ZipFile(path) if path is not None and path.is_file() else None
        listed = self._archive.namelist() if self._archive else []
        self.names = {int(name.partition(".")[0]): name for name in listed}
        self._known = frozenset(listed)

    def address(self, item: int) -> str | None:
        """The path at which the service shows an item's picture; None: it has none."""
        name = self.names.get(item)
        return None if name is None else f"/pictures/{name}?release={self._release}"

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Content and media type of a picture; None: there is none of this name."""
        if self._archive is None or name not in self._known:
            return None
        with self._lock:  # one file position for all threads
            return self._archive.read(name), MEDIA[Path(name).suffix]
