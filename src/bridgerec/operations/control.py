"""Everything up, everything down; only what was started here is ever stopped."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.operations import parts as known
from bridgerec.operations.deploy import deploy
from bridgerec.operations.leftovers import end_left_runs
from bridgerec.operations.parts import Part
from bridgerec.operations.processes import HOST, find_port, start, stop, wait_until
from bridgerec.operations.state import State, alone, read_state, write_state
from bridgerec.registry.current import live
from bridgerec.registry.store import Store

Say = Callable[[str], None]
GONE = "the process of an earlier start is gone"
PORTS = {"prefect": 4200, "service": 3000, "evidently": 8000, "reports": 8010}


class AtWork(BridgeRecError):
    """Another `up` or `down` of the workspace is at work."""


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    """One `up` or `down` of a workspace at a time."""
    words = f"another `bridgerec up` or `down` is at work in {workspace.root}. Wait for it."
    return alone(workspace, "lock", AtWork(words))


def up(workspace: Workspace, ports: Mapping[str, int] = PORTS, say: Say = print) -> State:
    """Start what does not run yet, and wait until all is well; returns what runs.

    A worker goes with its server.  Flow runs whose worker is gone are marked as crashed.

    `ports`: the port of each part (0: any free one).  What runs already keeps its own.  If one
    part cannot be started, those that this call started are stopped again.

    Raises:
        ConfigError: a port is in use.
        BridgeRecError: a part stopped, or was not ready in time.
    """
    _ = workspace.params  # a broken params.yaml is told first
    with _alone(workspace):
        state = read_state(workspace)
        gone = [n for n in state.parts if not state.alive(n)]
        if "prefect" in gone and "worker" in state.parts and "worker" not in gone:
            gone.append("worker")  # it knows the address of that server alone
        for name in gone:
            part = state.parts[name]
            say(f"{known.TITLES[name]}: {'stopped' if state.alive(name) else GONE}")
            stop(part)  # its children may still be there, and hold its port
            del state.parts[name]
        write_state(workspace, state)
        begun = set(state.parts)
        try:
            _start_all(workspace, ports, state, say)
        except BaseException:
            _stop_all(workspace, state, [n for n in state.parts if n not in begun], say)
            raise
        return state


def _start_all(workspace: Workspace, ports: Mapping[str, int], state: State, say: Say) -> None:
    chosen = _choose_ports(workspace, ports, state, say)
    prefect = chosen.get("prefect")
    if prefect is not None:
        around = known.environment(workspace, prefect)
        api = f"http://{HOST}:{prefect}/api"
        _one(workspace, known.prefect_server(), chosen, state, around, say)
        state.deployed, names = deploy(workspace, api, around, state.deployed)
        write_state(workspace, state)
        say(f"deployments: {', '.join(names)}")
        if "worker" not in state.parts and (left := end_left_runs(api)):
            say(f"flow runs that a killed worker left are marked as crashed: {', '.join(left)}")
        _one(workspace, known.worker(workspace, lambda: api), chosen, state, around, say)
    around = known.environment(workspace, prefect)
    if "service" in chosen:
        _one(workspace, known.service(workspace), chosen, state, around, say)
    if "evidently" in chosen:
        _one(workspace, known.evidently(workspace), chosen, state, around, say)
    _one(workspace, known.reports(workspace), chosen, state, around, say)


def _choose_ports(
    workspace: Workspace, ports: Mapping[str, int], state: State, say: Say
) -> dict[str, int]:
    """The port of each part that can run here, all found free before anything is started."""
    wanted = []
    if known.has_flows(workspace):
        wanted.append("prefect")
    else:
        say(f"Prefect is left out: {workspace.root} has no prefect.yaml")
    if live(Store.of(workspace)) is not None or (workspace.bento / "bento.yaml").is_file():
        wanted.append("service")
    else:
        say("the service is left out: nothing is packaged yet (`bridgerec run`)")
    if known.has_evidently():
        wanted.append("evidently")
    else:
        say("Evidently is left out: its UI is not installed")
    wanted.append("reports")
    chosen: dict[str, int] = {}
    for name in wanted:
        running = state.parts.get(name)
        if running is not None and running.port is not None:
            chosen[name] = running.port
        else:
            chosen[name] = find_port(ports.get(name, PORTS[name]), f"--{name}-port")
            if chosen[name] in [p for n, p in chosen.items() if n != name]:
                raise ConfigError(f"port {chosen[name]} is given to two parts; choose two.")
    return chosen


def _one(
    workspace: Workspace,
    part: Part,
    chosen: Mapping[str, int],
    state: State,
    around: dict[str, str],
    say: Say,
) -> None:
    """Start one part unless it runs, note it, and wait until it is well."""
    title = known.TITLES[part.name]
    if part.name in state.parts:
        # a worker has no address to ask: that its process is there has to do
        if part.listens:
            found = state.parts[part.name]
            wait_until(title, found, lambda: part.well(found.url), part.seconds)
        say(f"{title}: runs already")
        return
    port = chosen[part.name] if part.listens else None
    url = f"http://{HOST}:{port}" if port is not None else ""
    log = workspace.operations / "logs" / f"{part.name}.log"
    started = start(part.command(port or 0), around, workspace.root, log, port, url)
    state.parts[part.name] = started
    write_state(workspace, state)
    wait_until(title, started, lambda: part.well(url), part.seconds)
    say(f"{title}: ready" + (f" at {url}" if url else ""))


def down(workspace: Workspace, say: Say = print) -> None:
    """Stop what `up` started, in the opposite order.

    Raises:
        BridgeRecError: the state file is damaged.
    """
    with _alone(workspace):
        state = read_state(workspace)
        if not state.parts:
            say("nothing runs that `bridgerec up` started here")
        _stop_all(workspace, state, list(state.parts), say)


def _stop_all(workspace: Workspace, state: State, names: list[str], say: Say) -> None:
    for name in sorted(names, key=list(known.TITLES).index, reverse=True):
        was_there = stop(state.parts[name])
        del state.parts[name]
        write_state(workspace, state)
        say(f"{known.TITLES[name]}: {'stopped' if was_there else 'was gone already'}")


def status(workspace: Workspace) -> dict[str, Any]:
    """What runs and is well, what is live, and what the last monitoring said."""
    from bridgerec.operations.report import last_monitoring, released

    state, rows = read_state(workspace), []
    wells = {
        "prefect": known.prefect_server().well,
        "service": known.service(workspace).well,
        "evidently": known.evidently(workspace).well,
        "reports": known.reports(workspace).well,
    }
    for name, part in state.parts.items():
        alive = state.alive(name)
        well = alive and (name not in wells or wells[name](part.url))
        rows.append(
            {
                "part": name,
                "state": "running" if well else "not answering" if alive else "gone",
                **part.model_dump(include={"pid", "url", "log", "started"}),
            }
        )
    try:
        found: dict[str, Any] = released(workspace, state)
    except BridgeRecError as error:
        found = {"problem": str(error)}
    return {"parts": rows, "release": found, "monitoring": last_monitoring(workspace)}
