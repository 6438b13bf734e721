"""Every hash between the rows and the Bento, computed again, in the order of the flow of data."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.errors import ArtifactError, BridgeRecError, ConfigError
from bridgerec.models.base import check_catalogue, load
from bridgerec.registry.bundle import find_bundle
from bridgerec.registry.contents import content_md5, first_difference
from bridgerec.registry.dossier import lock_hash
from bridgerec.registry.store import Store
from bridgerec.runtime import BrokenFile, file_hash, read_json

State = Literal["same", "differs", "unchecked"]


@dataclass(frozen=True)
class Check:
    """One comparison; `detail` says what was found, or why nothing could be."""

    what: str
    state: State
    detail: str = ""


def verify(workspace: Workspace, what: str) -> list[Check]:
    """Check a kept release (its id), or a Bento's folder; stops at the first thing that differs.

    Raises:
        ConfigError: there is neither such a release nor a folder.
        ArtifactError: the folder holds no Bento.
    """
    bento, kept = locate(workspace, what)
    done: list[Check] = []
    try:
        for check in _checks(workspace, find_bundle(bento), kept):
            done.append(check)
            if check.state == "differs":
                break
    except (BrokenFile, OSError, KeyError) as error:
        done.append(Check(f"{bento}", "differs", f"cannot be read: {error}"))
    return done


def locate(workspace: Workspace, what: str) -> tuple[Path, Path | None]:
    """The Bento, and the folder of the kept release around it (None: a Bento alone)."""
    path = Path(what)
    if path.is_dir():
        if (path / "record.json").is_file():
            return path / "bento", path
        beside = path.resolve().parent
        return path, beside if (beside / "record.json").is_file() else None
    if path.is_absolute() or "/" in what:
        raise ConfigError(f"{what} is no folder. Name a release's id or a Bento's folder.")
    release = Store.of(workspace).find(what)
    return release.bento, release.folder


def _checks(workspace: Workspace, bundle: Path, kept: Path | None) -> Iterator[Check]:
    dossier = read_json(bundle / "dossier.json")
    yield _dossier(dossier)
    yield from _rows(workspace, dossier)
    yield from _stages(workspace, dossier)
    yield from _bundle(bundle, dossier)
    yield from _whole(bundle, dossier, kept)


def _compare(what: str, found: object, expected: object, detail: str = "") -> Check:
    if found == expected:
        return Check(what, "same", _short(expected))
    return Check(what, "differs", detail or f"is {_short(found)}, but {_short(expected)} is noted")


def _short(value: object) -> str:
    return value[:20] if isinstance(value, str) else ""


def _dossier(dossier: dict[str, Any]) -> Check:
    """The release's id is the hash of the rest of the dossier."""
    rest = {k: v for k, v in dossier.items() if k != "release"}
    text = yaml.safe_dump(rest, sort_keys=True)
    found = hashlib.sha256(text.encode()).hexdigest()[:12]
    return _compare("dossier", found, dossier["release"], "was changed since it was written")


def _rows(workspace: Workspace, dossier: dict[str, Any]) -> Iterator[Check]:
    expected, data = str(dossier["data_hash"]), workspace.root / "data"
    tracked = workspace.root / "data.dvc"
    if not data.is_dir():
        yield Check("data", "unchecked", f"{data} is not here")
        return
    if tracked.is_file():
        now = yaml.safe_load(tracked.read_text())["outs"][0]["md5"]
        if now != expected:
            told = f"data.dvc names other data ({now[:12]}) than the release's ({expected[:12]})"
            yield Check("data", "unchecked", f"{told}; check those out to compare")
            return
    if not tracked.is_file():
        yield _compare("data", file_hash(data), expected)
        return
    yield _content(workspace, "data", expected)


def _stages(workspace: Workspace, dossier: dict[str, Any]) -> Iterator[Check]:
    """What each stage left, against dvc.lock, if that is the release's own."""
    found = lock_hash(workspace)
    if found is None or found != dossier["dvc_lock_hash"]:
        why = "dvc.lock is not here" if found is None else "dvc.lock is of another run"
        yield Check("prepared, vectors, models of the workspace", "unchecked", why)
        return
    yield Check("dvc.lock", "same", _short(found))
    lock = yaml.safe_load((workspace.root / "dvc.lock").read_text())["stages"]
    for stage in _order(lock):
        for out in lock[stage].get("outs", []):
            path = workspace.root / out["path"]
            if not path.exists():
                yield Check(out["path"], "unchecked", "is not here (`dvc pull` or `dvc checkout`)")
                continue
            yield _content(workspace, out["path"], out["md5"])
    splits = workspace.prepared / "splits.json"
    if splits.is_file():
        hashes = {name: info["hash"] for name, info in read_json(splits).items()}
        yield _compare("splits", hashes, dossier["split_hashes"])


def _content(workspace: Workspace, path: str, expected: str) -> Check:
    place = workspace.root / path
    found = content_md5(place)
    if found == expected:
        return Check(path, "same", _short(expected))
    return _compare(path, found, expected, first_difference(workspace.root, place, expected))


def _order(lock: dict[str, Any]) -> list[str]:
    """The stages before `package`, each after those whose outputs it needs."""
    from graphlib import TopologicalSorter

    makers = {out["path"]: name for name, s in lock.items() for out in s.get("outs", [])}
    needs = {
        name: {
            maker
            for dep in s.get("deps", [])
            for path, maker in makers.items()
            if path == dep["path"] or path.startswith(dep["path"] + "/")
        }
        for name, s in lock.items()
        if name != "package"
    }
    return list(TopologicalSorter(needs).static_order())


def _bundle(bundle: Path, dossier: dict[str, Any]) -> Iterator[Check]:
    manifest = read_json(bundle / "manifest.json")
    champion = dossier["champion"]
    yield _compare("manifest: release", manifest["release"], dossier["release"])
    yield _compare("manifest: champion", manifest["champion"], champion)
    yield _compare("manifest: service", manifest["service"], dossier["params"]["service"])
    items = bundle / "catalogue.parquet"
    yield _compare("catalogue", _hash(items), champion["catalogue_sha256"])
    yield _compare("models", _hash(bundle / "models"), champion["models_sha256"])
    for name, expected in sorted(manifest["sha256"].items()):
        yield _compare(f"bundle: {name}", _hash(bundle / name), expected)
    catalogue = Catalogue.read(items)
    for name in sorted(set(champion["routes"].values())):
        try:
            check_catalogue(load(bundle / "models" / name), catalogue)
        except BridgeRecError as error:
            yield Check(f"model {name}", "differs", str(error))
            return
        yield Check(f"model {name}", "same", "loads, and knows this catalogue")
    yield _encoder(bundle)


def _hash(path: Path) -> str:
    return file_hash(path) if path.exists() else "nothing: it is missing"


def _encoder(bundle: Path) -> Check:
    """The weights of the encoder, where they are."""
    from bridgerec.config import Encoder
    from bridgerec.encoders.weights import locate, weights_hash

    record = read_json(bundle / "encoder.json")
    config = Encoder.model_validate(record["encoder"])
    if record["weights"] is None:
        return Check("encoder", "unchecked", "its weights were not there when it was packaged")
    inside = (bundle / config.model).is_dir() or config.model.startswith("package:")
    if not inside:
        return Check("encoder", "unchecked", f"{config.model} is a hub id; nothing is fetched")
    try:
        return _compare("encoder", weights_hash(config, locate(config, bundle)), record["weights"])
    except ConfigError as error:
        return Check("encoder", "unchecked", str(error))
    except ArtifactError as error:
        return Check("encoder", "differs", str(error))


def _whole(bundle: Path, dossier: dict[str, Any], kept: Path | None) -> Iterator[Check]:
    bento = bundle.parents[1]
    made = yaml.safe_load((bento / "bento.yaml").read_text())
    yield _compare("bento.yaml: version", str(made["version"]), dossier["release"])
    if kept is None:
        told = "no record of the release lies beside the Bento; its code was not compared"
        yield Check("the whole Bento", "unchecked", told)
        return
    decision, own = read_json(kept / "decision.json"), read_json(kept / "dossier.json")
    yield _compare("decision.json", decision, dossier["decision"])
    own.pop("overrides", None)
    yield _compare("dossier.json", own, dossier, "is not the Bento's")
    record = read_json(kept / "record.json")
    yield _compare("the whole Bento", file_hash(bento), record["bento_sha256"])
