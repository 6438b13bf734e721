"""A wheel of the installed bridgerec, byte for byte the same for the same files.

So a Bento carries the very code that made it, also when bridgerec is installed in editable
mode or its source tree is gone.
"""

import base64
import hashlib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import bridgerec


def write_wheel(folder: Path) -> Path:
    """Write `bridgerec-VERSION-py3-none-any.whl` into `folder`."""
    own = distribution("bridgerec")
    package = Path(bridgerec.__file__).parent
    info = f"bridgerec-{own.version}.dist-info"
    content = {
        f"bridgerec/{p.relative_to(package).as_posix()}": p.read_bytes()
        for p in sorted(package.rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts
    }
    content[f"{info}/METADATA"] = (own.read_text("METADATA") or "").encode()
    content[f"{info}/entry_points.txt"] = (own.read_text("entry_points.txt") or "").encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: bridgerec\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(
        f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items()
    )
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bridgerec-{own.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
