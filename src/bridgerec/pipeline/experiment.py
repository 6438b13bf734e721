"""A run with other parameters: in a folder of its own, kept as a DVC experiment.

The workspace is not touched: its service, its monitoring and its `dvc repro` go on with what is
there.  DVC's cache is shared, so what did not change is taken from it, and what was computed stays
when the folder is gone.
"""

import fcntl
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridgerec.config import load_params
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.pipeline.command import Say, dvc
from bridgerec.pipeline.git import author, git, run_git
from bridgerec.pipeline.graph import Busy, Unreachable
from bridgerec.pipeline.overrides import Overrides

TRACKED = ("params.yaml", "dvc.yaml", "data.dvc")
SHARED = ("artifacts/cache", "artifacts/tuning")  # by content, or made to be gone on with
ROOMS = Path(".dvc", "tmp", "bridgerec")  # where neither git nor DVC looks


@dataclass(frozen=True)
class Experiment:
    """`workspace` is where it came from, `root` the same folder in a copy of the repository."""

    name: str
    workspace: Path
    root: Path

    def take_data(self, say: Say = print) -> None:
        """Put the files of `data.dvc` in place, from the cache or else from the remote storage.

        Raises:
            ConfigError: they are in neither.
            Unreachable: the remote storage did not give them.
        """
        code, output = dvc(self.root, "checkout", "data.dvc", say=lambda _: None)
        if code == 0:
            return
        from dvc.repo import Repo

        with Repo(str(self.root)) as repo:
            remote = repo.config["core"].get("remote")
        if not remote:
            raise ConfigError(
                f"the data of this version are not in DVC's cache of {self.workspace}, and there "
                f"is no default remote storage to fetch them from. DVC says:\n{output}"
            )
        code, output = dvc(self.root, "pull", "data.dvc", say=say)
        if code:
            raise Unreachable(f"the data could not be fetched from {remote}:\n{output}")

    def save(self, say: Say = print) -> None:
        """Keep what is here as the experiment `name` of the workspace's repository.

        Raises:
            BridgeRecError: DVC or git refuses, with what it said.
        """
        git(self.root, "add", "--force", "dvc.lock")
        code, output = dvc(
            self.root, "exp", "save", "--name", self.name, say=say, around=author(self.root)
        )
        if code:
            raise BridgeRecError(f"the experiment {self.name} could not be saved:\n{output}")
        [reference] = [ref for ref in _kept(self.root) if ref.endswith(f"/{self.name}")]
        copy = git(self.root, "rev-parse", "--show-toplevel")
        git(self.workspace, "fetch", "--quiet", copy, f"{reference}:{reference}")

    def keep_reports(self) -> Path:
        """Copy its reports to `reports/experiments/NAME` of the workspace, which is returned."""
        place = self.workspace / "reports" / "experiments" / self.name
        if (self.root / "reports").is_dir():
            # without modes: what DVC links to its cache may not be written
            shutil.copytree(
                self.root / "reports", place, copy_function=shutil.copyfile, dirs_exist_ok=True
            )
        return place


def check(workspace: Path, overrides: Overrides) -> None:
    """Refuse what could not be run, kept, compared or repeated.

    Raises:
        ConfigError: the workspace is in no git repository, git does not know it, or its data were
            changed without `dvc add`; an override names what is not there.
        Busy: another DVC process holds the lock.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    overrides.check(workspace)
    if run_git(workspace, "rev-parse", "--verify", "--quiet", "HEAD").returncode:
        raise ConfigError(
            f"{workspace} is in no git repository with a commit, and a run with overrides is kept "
            "as a DVC experiment, which needs one: `git init`, `dvc config --unset core.no_scm`, "
            "`git add .`, `git commit`. Or change params.yaml and run without overrides."
        )
    if not (workspace / ".dvc").is_dir():
        raise ConfigError(f"{workspace} is no DVC repository; run `dvc init --subdir` there.")
    with Repo(str(workspace)) as repo:
        if repo.config["core"].get("no_scm"):
            raise ConfigError(
                f"DVC was told to do without git in {workspace}, and a run with overrides is kept "
                "by git as a DVC experiment. Run `dvc config --unset core.no_scm` there, and "
                "commit the workspace."
            )
        if missing := [n for n in TRACKED if not git(workspace, "ls-files", "--", n)]:
            raise ConfigError(
                f"{workspace}: git does not know {', '.join(missing)} yet, so an experiment could "
                "not be compared with anything. Run `git add . && git commit` there."
            )
        try:
            changed = repo.status([str(workspace / "data.dvc")])
        except LockError as error:
            raise Busy(f"another DVC process is at work in {workspace}; try later.") from error
    if changed and not overrides.data:
        raise ConfigError(
            f"{workspace / 'data'} is not what data.dvc says, so the run could not be repeated. "
            "Run `dvc add data` there (`dvc checkout data.dvc` undoes the changes)."
        )
    if overrides.data:
        data_of(workspace, overrides.data)


@contextmanager
def experiment(workspace: Path, name: str, overrides: Overrides) -> Iterator[Experiment]:
    """A copy of what lies in `workspace`, with the overrides written; gone afterwards.

    `name` is made one that DVC takes and that no other experiment has.  Its data are not there
    before `take_data`.

    Raises:
        ConfigError: what the overrides make of params.yaml does not go together.
    """
    rooms = workspace / ROOMS
    rooms.mkdir(parents=True, exist_ok=True)
    _sweep(rooms)
    name = _free(workspace, rooms, name)
    with (rooms / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            root = _copy(workspace, rooms / name)
            _connect(workspace, root)
            if overrides.data:
                (root / "data.dvc").write_text(data_of(workspace, overrides.data) + "\n")
            overrides.write(root)
            _link_encoders(workspace, root)
            yield Experiment(name, workspace, root)
        finally:
            _remove(rooms / name)


def data_of(workspace: Path, revision: str) -> str:
    """`data.dvc` of a git revision or of an experiment.

    Raises:
        ConfigError: there is no such revision, or it has no `data.dvc`.
    """
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo(str(workspace)) as repo:
            found = resolve_rev(repo.scm, revision)
    except RevError as error:
        raise ConfigError(
            f"data version {revision!r}: there is no such git revision, tag or experiment "
            "(`git tag`, `dvc exp list`)."
        ) from error
    done = run_git(workspace, "show", f"{found}:./data.dvc")
    if done.returncode:
        raise ConfigError(f"data version {revision!r} has no data.dvc: {done.stderr.strip()}")
    return done.stdout.strip()


def _copy(workspace: Path, place: Path) -> Path:
    """The repository as it is committed, then every tracked file as it lies in the workspace."""
    top = Path(git(workspace, "rev-parse", "--show-toplevel"))
    common = Path(git(workspace, "rev-parse", "--path-format=absolute", "--git-common-dir"))
    place.mkdir()
    git(place, "init", "--quiet")
    (place / ".git" / "objects" / "info" / "alternates").write_text(f"{common / 'objects'}\n")
    if (common / "shallow").is_file():
        shutil.copy(common / "shallow", place / ".git" / "shallow")
    git(place, "update-ref", "--no-deref", "HEAD", git(workspace, "rev-parse", "HEAD"))
    git(place, "reset", "--quiet", "--hard")
    root = place / workspace.resolve().relative_to(top.resolve())
    changed = git(workspace, "diff", "--name-only", "--relative", "-z", "HEAD").split("\0")
    for name in filter(None, [*changed, "dvc.lock"]):
        source, target = workspace / name, root / name
        target.unlink(missing_ok=True)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return root


def _connect(workspace: Path, root: Path) -> None:
    """The workspace's cache and remotes; whatever DVC notes for itself goes away with the copy."""
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo(str(workspace)) as repo:
        cache, remotes = repo.cache.local_cache_dir, dict(repo.config["remote"])
        types = repo.config["cache"].get("type")
    with Config(str(root / ".dvc")).edit("local") as found:
        found.update(Config(str(workspace / ".dvc")).load_one("local"))
        found.setdefault("cache", {})["dir"] = str(cache)
        if not types:
            found["cache"]["type"] = ["reflink", "hardlink", "copy"]
        found.setdefault("core", {})["site_cache_dir"] = str(root / ".dvc" / "tmp" / "site")
        for name, remote in remotes.items():  # a relative one is relative to the workspace
            found.setdefault("remote", {}).setdefault(name, {})["url"] = remote["url"]
    for shared in SHARED:
        (workspace / shared).mkdir(parents=True, exist_ok=True)
        (root / shared).parent.mkdir(parents=True, exist_ok=True)
        (root / shared).symlink_to(workspace / shared)


def _link_encoders(workspace: Path, root: Path) -> None:
    """Folders of weights that params.yaml names and git does not know."""
    embed = load_params(root / "params.yaml").embed
    for model in (embed.text.model, embed.image.model if embed.image else ""):
        source, target = workspace / model, root / model
        if model and source.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def _kept(root: Path) -> list[str]:
    return git(root, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()


def _free(workspace: Path, rooms: Path, name: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "training"
    taken = {ref.rpartition("/")[2] for ref in _kept(workspace)}
    taken |= {p.stem for p in rooms.glob("*.lock")}
    numbered = (f"{name}-{i}" for i in range(2, len(taken) + 3))
    return next(n for n in (name, *numbered) if n not in taken)


def _sweep(rooms: Path) -> None:
    """Remove the copies of runs that were killed: nobody holds their lock."""
    for path in rooms.glob("*.lock"):
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            _remove(path.with_suffix(""))


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.with_name(f"{place.name}.lock").unlink(missing_ok=True)
