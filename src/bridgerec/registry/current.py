"""Which release is live: `releases/current.json`, replaced as a whole, with all moves before it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bridgerec.errors import ArtifactError, ConfigError, GateRefused
from bridgerec.registry.bundle import check_bundle, find_bundle
from bridgerec.registry.store import Release, Store, now
from bridgerec.runtime import BrokenFile, read_json, remove_leftovers, write_json

By = Literal["gate", "override", "rollback", "pin"]


class Move(BaseModel):
    """One change of the live release; `previous` was live before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str
    release: str
    previous: str | None
    by: By
    reason: str = ""


class Current(BaseModel):
    """`release` is live (None: nothing was released yet); `pinned`: only people may change it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: str | None = None
    pinned: bool = False
    history: tuple[Move, ...] = ()

    def live_since(self, release: str) -> str | None:
        """When the release last became live."""
        return next((m.time for m in reversed(self.history) if m.release == release), None)

    def left_by_rollback(self, release: str) -> Move | None:
        """The rollback away from this release, unless it became live again since."""
        for move in reversed(self.history):
            if move.release == release:
                return None
            if move.by == "rollback" and move.previous == release:
                return move
        return None


def read_current(store: Store) -> Current:
    """What is live.

    Raises:
        ArtifactError: `current.json` cannot be read.
    """
    path = store.root / "current.json"
    if not path.exists():
        return Current()
    try:
        return Current.model_validate(read_json(path))
    except (ValidationError, BrokenFile) as error:
        raise ArtifactError(
            f"{path} is damaged. Delete it and say `bridgerec releases promote ID`; the releases "
            "themselves are not touched."
        ) from error


def live(store: Store) -> Release | None:
    """The release that is live; None before the first.

    Raises:
        ArtifactError: its folder is gone.
    """
    found = read_current(store).release
    if found is None:
        return None
    release = Release(found, store.root / found)
    if not release.bento.is_dir():
        raise ArtifactError(
            f"{release.bento} is gone, but current.json names it. Copy it back, or say "
            "`bridgerec releases rollback`."
        )
    return release


def hindrance(store: Store, release: Release) -> str | None:
    """Why a flow may not make this release live by itself; None: it may."""
    current = read_current(store)
    if current.pinned and current.release != release.id:
        return f"{current.release} is pinned; `bridgerec releases unpin` lifts that"
    left = current.left_by_rollback(release.id)
    if left is not None:
        return (
            f"it was rolled back on {left.time}{': ' + left.reason if left.reason else ''}; only a "
            "person may make it live again"
        )
    return None


def refusal(release: Release) -> str | None:
    """Why the gate refused this release, and how a person overrules it; None: it did not."""
    verdict = release.verdict
    if verdict["allowed"]:
        return None
    reasons = "\n  ".join(verdict["reasons"])
    return (
        f"the gate refused {release.id}:\n  {reasons}\nTo release it all the same, say "
        f'`bridgerec releases promote {release.id} --override "why"`.'
    )


def promote(store: Store, release: Release, reason: str = "", override: bool = False) -> Current:
    """Make a release live.

    With `override` a person takes the responsibility: the reason is written into the release's
    dossier, beside the decision.

    Raises:
        GateRefused: the gate refused the release, and nobody overrides it.
        ConfigError: another release is pinned, or an override has no reason.
    """
    if override and not reason.strip():
        raise ConfigError('--override needs a reason: --override "why this is right".')
    with _editing(store) as change:
        before = read_current(store)
        if before.pinned and before.release != release.id:
            raise ConfigError(
                f"{before.release} is pinned. Lift that first: `bridgerec releases unpin`."
            )
        verdict = release.verdict
        if not override and (why_not := refusal(release)) is not None:
            raise GateRefused(why_not)
        if override:
            dossier = release.read("dossier")
            dossier["overrides"].append({"time": now(), "reason": reason, "against": verdict})
            write_json(release.folder / "dossier.json", dossier)
        return change(before, release, "override" if override else "gate", reason)


def pin(store: Store, release: Release) -> Current:
    """Make a release live and let no flow change that."""
    with _editing(store) as change:
        return change(read_current(store), release, "pin", "", pinned=True)


def unpin(store: Store) -> Current:
    """Let the flow promote again; what is live stays."""
    with _editing(store):
        found = read_current(store).model_copy(update={"pinned": False})
        write_json(store.root / "current.json", found.model_dump(mode="json"))
        return found


def rollback(store: Store, to: Release | None = None, reason: str = "") -> Current:
    """Go back to `to`, or to what was live before; a pin on what is left is lifted.

    Raises:
        ConfigError: nothing was live before, or `to` is live already.
    """
    with _editing(store) as change:
        before = read_current(store)
        if to is None:
            to = _before(store, before)
        if to.id == before.release:
            raise ConfigError(f"{to.id} is live already.")
        return change(before, to, "rollback", reason)


def _before(store: Store, current: Current) -> Release:
    """The newest kept release that was live before the live one and was not itself rolled back."""
    for move in reversed(current.history):
        if (
            move.release == current.release
            and move.by != "rollback"
            and move.previous is not None
            and (store.root / move.previous / "record.json").is_file()
        ):
            return store.find(move.previous)
    raise ConfigError(
        "nothing was live before this release. Name one: `bridgerec releases rollback ID`; "
        "`bridgerec releases` lists them."
    )


@contextmanager
def _editing(store: Store) -> Iterator["Change"]:
    """One change at a time, also between processes."""
    store.root.mkdir(parents=True, exist_ok=True)
    with (store.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_leftovers(store.root / "current.json")
        yield Change(store)


class Change:
    """Writes the next state of `current.json`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(
        self, before: Current, release: Release, by: By, reason: str, pinned: bool | None = None
    ) -> Current:
        same = before.release == release.id
        if pinned is None:
            pinned = before.pinned and same
        history = before.history
        if not same:
            check_bundle(find_bundle(release.bento))  # a damaged one never becomes live
            move = Move(
                time=now(), release=release.id, previous=before.release, by=by, reason=reason
            )
            history = (*history, move)
        found = Current(release=release.id, pinned=pinned, history=history)
        write_json(self.store.root / "current.json", found.model_dump(mode="json"))
        return found
