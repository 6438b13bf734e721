"""Image files to unit vectors, with `colour`, any transformers vision model, or an ONNX file.

Vectors are found again by the content of the file, so that a moved or copied file costs nothing.
Batches are always full (the last image of a short one is repeated), because other batch sizes run
through other kernels, which round in another order.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import ImageEncoder as Config
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.vision import Backend, combined
from bridgerec.progress import track
from bridgerec.runtime import file_hash

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
SHARD = 1024  # images between two writes to the cache


@dataclass(frozen=True)
class Found:
    """`vectors` (n, size) are of unit length, or zeros where `present` (n,) is false; `named` is
    how many items name a file, `unreadable` are the files of which there is no vector."""

    vectors: Floats
    present: NDArray[np.bool_]
    named: int
    unreadable: list[Path]


class ImageEncoder:
    """Made ready by its `config`; `root` is where a relative folder or file starts.

    Raises:
        ConfigError: the model cannot be found, or an extra is not installed.
        ArtifactError: its weights are not the expected ones, or cannot be loaded.
    """

    def __init__(self, config: Config, root: Path = Path()) -> None:
        self.batch_size = config.batch_size
        self.backend = _backend(config, root)
        self.fingerprint = combined("image", self.backend.fingerprint)

    def encode(
        self,
        paths: Sequence[Path | None],
        cache: EmbeddingCache | None = None,
        progress: bool = False,
    ) -> Found:
        """The vectors of files, one row per path; what is None, missing or no image has none.

        Distinct contents are computed once; with a cache only those that it lacks, written every
        thousand images, so that a killed run goes on where it was.
        """
        digests = [_digest(path) for path in paths]
        places = {d: path for d, path in zip(digests, paths, strict=True) if d and path}
        distinct = sorted(places)
        known = cache.get(distinct) if cache else {}
        missing = [digest for digest in distinct if digest not in known]
        for part, vectors in self._compute(missing, places, progress):
            known.update(zip(part, vectors, strict=True))
            if cache:
                cache.add(part, vectors)
        size = len(next(iter(known.values()))) if known else 0
        found = np.zeros((len(paths), size), dtype=np.float32)
        present = np.zeros(len(paths), dtype=bool)
        for row, digest in enumerate(digests):
            if digest in known:
                found[row], present[row] = known[digest], True
        named = [path for path in paths if path]
        lost = [path for path, there in zip(paths, present, strict=True) if path and not there]
        return Found(found, present, len(named), lost)

    def _compute(
        self, digests: list[str], places: dict[str, Path], progress: bool
    ) -> Iterator[tuple[list[str], Floats]]:
        """Vectors of files, shard by shard; those that cannot be read are left out."""
        starts = range(0, len(digests), self.batch_size)
        names: list[str] = []
        pieces: list[Floats] = []
        for start in track(starts, "images", shown=progress):
            batch = digests[start : start + self.batch_size]
            images = {d: image for d in batch if (image := read_image(places[d])) is not None}
            if images:
                names += images
                pieces.append(self._forward(list(images.values())))
            if len(names) >= SHARD:
                yield names, np.concatenate(pieces)
                names, pieces = [], []
        if names:
            yield names, np.concatenate(pieces)

    def _forward(self, images: list["Image"]) -> Floats:
        filled = images + images[-1:] * (self.batch_size - len(images))
        vectors = self.backend(filled)[: len(images)]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _backend(config: Config, root: Path) -> Backend:
    if config.model == "colour":
        from bridgerec.encoders.colour import Colour

        return Colour()
    from bridgerec.encoders.onnx import KNOWN_OUTPUTS, find_onnx
    from bridgerec.encoders.vision import Onnx, Transformer
    from bridgerec.encoders.weights import locate

    file = find_onnx(config, root)
    if file is not None:
        return Onnx(config, file, config.output or KNOWN_OUTPUTS.get(config.model))
    return Transformer(config, locate(config, root))


def _digest(path: Path | None) -> str | None:
    """sha256 of a file; None where there is none."""
    try:
        return file_hash(path) if path is not None and path.is_file() else None
    except OSError:
        return None


def read_image(path: Path) -> "Image | None":
    """The image upright, in RGB, on white where it is transparent; None where it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(path.read_bytes())) as opened:
                image = ImageOps.exif_transpose(opened)
                if image.has_transparency_data:
                    image = image.convert("RGBA")
                    ground = Image.new("RGBA", image.size, "white")
                    image = Image.alpha_composite(ground, image)
                return image.convert("RGB")
    # what a broken file makes of its decoder
    except (OSError, ValueError, SyntaxError, ArithmeticError, LookupError, MemoryError, Warning):
        return None
    except Image.DecompressionBombError:
        return None
