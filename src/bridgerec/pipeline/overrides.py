"""What one run of the pipeline changes in params.yaml and data.dvc."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridgerec.config import load_params
from bridgerec.errors import ConfigError
from bridgerec.runtime import atomic_file


def choices(root: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What a form offers, as parts of a JSON schema: domains, and models; both empty where there
    is no params.yaml that can be read."""
    try:
        params = load_params(root / "params.yaml")
    except ConfigError:
        return {}, {}
    return {"enum": list(params.data.domains)}, {"enum": list(params.models)}


@dataclass(frozen=True)
class Overrides:
    """Empty values change nothing.

    `encoder` is a hub id, a folder or `package:MODULE`; `data` a git revision, tag or experiment
    whose `data.dvc` is taken; `trials` the budget of a search per candidate.
    """

    targets: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    encoder: str = ""
    data: str = ""
    trials: int = 0

    def __bool__(self) -> bool:
        return bool(self.words)

    @property
    def words(self) -> list[str]:
        """One line per change."""
        told = {
            "targets": ", ".join(self.targets),
            "candidates": ", ".join(self.candidates),
            "encoder": self.encoder,
            "data as of": self.data,
            "tuned, trials per candidate": str(self.trials or ""),
        }
        return [f"{what}: {value}" for what, value in told.items() if value]

    def check(self, root: Path) -> None:
        """Refuse names that the workspace does not have.

        Raises:
            ConfigError: a target is no domain, or a candidate has no entry under `models`.
        """
        params = load_params(root / "params.yaml")
        for what, given, known in (
            ("target domains", self.targets, params.data.domains),
            ("candidates", self.candidates, params.models),
        ):
            if strange := [name for name in given if name not in known]:
                raise ConfigError(
                    f"{what}: {strange} are not in {root / 'params.yaml'}; there are {list(known)}."
                )

    def write(self, root: Path) -> None:
        """Change `params.yaml` in `root`; comments and all other entries stay.

        With fewer candidates the gate's baseline stays one of them, and the blend mixes those of
        its members that are left (all candidates if none is).

        Raises:
            ConfigError: what comes out does not go together.
        """
        from ruamel.yaml import YAML

        yaml, path = YAML(), root / "params.yaml"
        yaml.preserve_quotes, yaml.width = True, 120
        params = yaml.load(path.read_text(encoding="utf-8"))
        self._change(params, load_params(path).gate.baseline)
        text = io.StringIO()
        yaml.dump(params, text)
        with atomic_file(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
        load_params(path)

    def _change(self, params: dict[str, Any], baseline: str) -> None:
        if self.targets:
            _replace(params, "targets", self.targets)
        if self.candidates:
            chosen = list(dict.fromkeys(self.candidates))
            _replace(params, "candidates", chosen if baseline in chosen else [baseline, *chosen])
            blend = params.get("blend")
            if blend and blend.get("members"):
                _replace(
                    blend, "members", [m for m in blend["members"] if m in params["candidates"]]
                )
        if self.encoder:
            text = params.setdefault("embed", {}).setdefault("text", {})
            text["model"] = self.encoder
            text.pop("sha256", None)  # of the other encoder's weights
        if self.trials:
            params.setdefault("tune", {})["trials"] = self.trials


def _replace(entries: Any, key: str, values: Iterable[str]) -> None:
    """Put a list in place of another one, written as that one was; what stands after it (blank
    lines and comments belong to a list's last value) stays."""
    from ruamel.yaml.comments import CommentedSeq

    old, new = entries.get(key), CommentedSeq(values)
    if isinstance(old, CommentedSeq) and old:
        if old.fa.flow_style():
            new.fa.set_flow_style()
        after = old.ca.items.get(len(old) - 1)
        if after and new:
            new.ca.items[len(new) - 1] = after
    entries[key] = new
