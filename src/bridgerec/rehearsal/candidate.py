"""A workspace for a while with the bad candidate in place of the good ones."""

from collections.abc import Iterator
from contextlib import contextmanager

from bridgerec.config import Workspace
from bridgerec.rehearsal.world import dvc
from bridgerec.runtime import atomic_file

NAME = "shuffled"
MODEL = {
    "use": "bridgerec.rehearsal.shuffled:Shuffled",
    "of": "bridgerec.models.ease:EASE",
    "options": {"regularization": 100, "text_weight": 2, "recency": 0.95},
}


@contextmanager
def misled(workspace: Workspace) -> Iterator[None]:
    """`params.yaml` names the baseline and the bad candidate alone while the block runs; then
    everything is as it was before: `params.yaml`, `dvc.lock` and the outputs."""
    import yaml

    files = [workspace.root / name for name in ("params.yaml", "dvc.lock")]
    before = {path: path.read_bytes() for path in files}
    params = yaml.safe_load(before[files[0]])
    params["models"][NAME] = MODEL
    params["candidates"] = [params["gate"]["baseline"], NAME]
    with atomic_file(files[0]) as temporary:
        temporary.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    try:
        yield
    finally:
        for path, content in before.items():
            with atomic_file(path) as temporary:
                temporary.write_bytes(content)
        dvc(workspace.root, "checkout", "-q", "--force")
