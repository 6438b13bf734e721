"""What turns images into vectors: a transformers model, or an ONNX file."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import ImageEncoder
from bridgerec.encoders.weights import settings_hash, weights_hash
from bridgerec.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]


class Backend(Protocol):
    """`fingerprint` changes whenever the same image could get another vector."""

    fingerprint: str

    def __call__(self, images: Sequence["Image"]) -> Floats:
        """Vectors (n, size) of RGB images; not of unit length."""


def combined(*parts: object) -> str:
    """One hash of all that shapes a vector."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


class Transformer:
    """Any vision model that AutoModel and AutoImageProcessor read from `folder`.

    Raises:
        ArtifactError: its weights are not the expected ones, or it cannot be loaded.
    """

    def __init__(self, config: ImageEncoder, folder: Path) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModel
        from transformers.utils import logging

        self.pooling = config.pooling
        self.fingerprint = combined(
            "transformers", weights_hash(config, folder), settings_hash(folder), config.pooling,
            config.batch_size, *(version(name) for name in ("torch", "transformers", "pillow")),
        )  # fmt: skip
        logging.disable_progress_bar()
        try:
            # torchvision, where it is installed, would scale to other pixels
            self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
            self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ArtifactError(
                f"transformers cannot load the image model in {folder}: {error}. Install it again, "
                "or name another under embed.image.model."
            ) from error

    def __call__(self, images: Sequence["Image"]) -> Floats:
        import torch

        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            if self.pooling == "auto" and hasattr(self.model, "get_image_features"):
                found = self.model.get_image_features(pixel_values=pixels)
                vectors = getattr(found, "pooler_output", found)
            else:
                model = getattr(self.model, "vision_model", self.model)  # of a dual encoder
                vectors = self._of(model(pixel_values=pixels))
        return np.asarray(vectors.float().numpy(), dtype=np.float32)

    def _of(self, outputs: Any) -> Any:
        if self.pooling != "pooler":
            return pool(outputs.last_hidden_state, self.pooling)
        if getattr(outputs, "pooler_output", None) is None:
            raise ConfigError(
                "embed.image.pooling is pooler, but this model pools nothing; write cls or mean."
            )
        return outputs.pooler_output.flatten(1)


class Onnx:
    """A model as one ONNX file that takes (batch, 3, height, width).

    Images are scaled to fit, and filled up with black, so that nothing is cut off.

    Raises:
        ConfigError: onnxruntime is not installed, or the file has no such output.
        ArtifactError: the file is not the expected one, or no image model.
    """

    def __init__(self, config: ImageEncoder, path: Path, output: str | None) -> None:
        from bridgerec.encoders.onnx import open_model

        digest, self.session, self.output = open_model(config, path, output)
        (given,) = self.session.get_inputs()
        self.name = given.name
        self.size = [side if isinstance(side, int) else 224 for side in given.shape[2:]]
        self.mean, self.std, self.pooling = config.mean, config.std, config.pooling
        self.fingerprint = combined(
            "onnx", digest, self.output, config.pooling, config.batch_size, config.mean, config.std,
            *(version(name) for name in ("onnxruntime", "pillow")),
        )  # fmt: skip

    def __call__(self, images: Sequence["Image"]) -> Floats:
        pixels = np.stack([self._pixels(image) for image in images])
        (found,) = self.session.run([self.output], {self.name: pixels})
        return np.asarray(pool(found, self.pooling), dtype=np.float32)

    def _pixels(self, image: "Image") -> Floats:
        from PIL.Image import Resampling
        from PIL.ImageOps import pad

        height, width = self.size
        fitted = np.asarray(pad(image, (width, height), Resampling.BICUBIC, (0, 0, 0)))
        scaled = (fitted / 255 - np.array(self.mean)) / np.array(self.std)
        return scaled.transpose(2, 0, 1).astype(np.float32)


def pool(found: Any, pooling: str) -> Any:
    """One vector per image of (n, size), (n, tokens, size) or (n, size, height, width)."""
    if found.ndim == 4:
        return found.mean((2, 3))
    if found.ndim == 3:
        return found.mean(1) if pooling == "mean" else found[:, 0]
    return found
