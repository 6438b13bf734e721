"""The plan for a second release: a small JSON file that all workers follow."""

import hashlib
import secrets
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridgerec.config import wrong_keys
from bridgerec.errors import ArtifactError, BridgeRecError, ConfigError
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import BrokenFile, read_json, write_json

CANARY = "BRIDGEREC_CANARY"  # environment: the file's path
MOVE = "live release"  # the salt of a plan to go over, in place of a trial's random one
SPACE = 2**64

Stamp = tuple[int, int, int]


class Plan(BaseModel):
    """`canary`: the second release answers a share `weight` of people, always the same ones;
    `shadow`: it is asked about them too, but its answers go into the traffic log alone.

    `salt` decides who they are: with a new one, other people are the first to try.  `release` is
    what the folder held when the plan was made: packaged again, the same folder is another trial.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bento: str = Field(min_length=1, max_length=4096, description="The Bento's folder.")
    release: str | None = Field(None, description="The release in it; null: whichever is there.")
    weight: float = Field(ge=0, le=1, allow_inf_nan=False)
    mode: Literal["canary", "shadow"] = "canary"
    salt: str = Field(default_factory=lambda: secrets.token_hex(8), max_length=64)
    off: str | None = Field(None, description="Why it was switched off; null: it is on.")

    def takes(self, person: str) -> bool:
        """Whether this person belongs to the share.  Who is in stays in while it grows."""
        digest = hashlib.sha256(f"{self.salt}\0{person}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") < self.weight * SPACE

    def of_the_same_trial(self, other: "Plan") -> bool:
        """Whether the other plan changes at most share, mode and switch."""
        own, theirs = ((p.bento, p.release, p.salt) for p in (self, other))
        return own == theirs

    def check(self, release: str) -> None:
        """
        Raises:
            ArtifactError: the folder holds another release than the plan was made for.
        """
        if self.release not in (None, release):
            raise ArtifactError(
                f"{self.bento} holds release {release} by now, not {self.release}. Begin the trial "
                "again to try what is there."
            )


def held(bento: Path) -> str | None:
    """The release that a Bento's folder holds now; None: it cannot be read."""
    try:
        found = read_json(find_bundle(bento) / "manifest.json").get("release")
    except (BridgeRecError, BrokenFile, OSError, AttributeError):
        return None  # whoever loads it is told what is wrong
    return found if isinstance(found, str) else None


def move_file(control: Path) -> Path:
    """The file beside a trial's that names the release to go over to, for everybody."""
    return control.with_suffix(".live.json")


def stamp(path: Path) -> Stamp | None:
    """What changes whenever the file does; None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def read_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        ConfigError: it cannot be read or is not valid.
    """
    try:
        return Plan.model_validate(read_json(path))
    except ValidationError as error:
        wrong = wrong_keys(error)
        raise ConfigError(f"{path}: {wrong}. Correct it, or delete it to roll back.") from error
    except (OSError, BrokenFile) as error:
        raise ConfigError(f"{path} cannot be read. Delete it to roll back.") from error


def write_plan(path: Path, plan: Plan) -> None:
    """Store a plan as a whole; every worker follows within a fraction of a second."""
    write_json(path, plan.model_dump(mode="json"))
