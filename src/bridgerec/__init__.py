"""BridgeRec carries a person's taste from one platform into another.

The public names below are imported on first use, so that `import bridgerec` stays
well under a tenth of a second.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Candidate": "bridgerec.models.base",
    "Catalogue": "bridgerec.data.dataset",
    "Histories": "bridgerec.data.dataset",
    "Params": "bridgerec.config",
    "Workspace": "bridgerec.config",
    "evaluate": "bridgerec.evaluation.protocol",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'bridgerec' has no attribute {name!r}")
