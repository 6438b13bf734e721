"""A process that has imported DVC and forks for every call of it (`command` starts it).

A request is four bytes of length with two file descriptors (for the output; for the fork's number
and its exit code), then JSON: `root`, `words`, `around`.  It ends when its caller does, and takes
along what it forked: a stage that nobody waits for would hold DVC's lock against the next run.
"""

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

NEEDED = (  # by `dvc repro`, which imports most of it late: each fork would do so again
    *("configobj", "ruamel.yaml", "dvc.cli.parser", "dvc.commands.repro"),
    *("dvc.cachemgr", "dvc.data_cloud", "dvc.lock", "dvc.rwlock", "dvc.scm", "dvc.stage.run"),
    *("dvc.repo.artifacts", "dvc.repo.datasets", "dvc.repo.metrics", "dvc.repo.open_repo"),
    *("dvc.repo.params", "dvc.repo.plots", "dvc.repo.reproduce", "dvc.repo.stage"),
    *("dvc.utils.strictyaml", "dvc_data.hashfile.db.local", "dvc_data.hashfile.status"),
)


def main(number: int) -> None:
    """Serve the socket `number` until the other end is closed."""
    for module in NEEDED:
        import_module(module)  # with all that they import
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    gc.collect()
    gc.freeze()
    forks: list[int] = []
    with socket.socket(fileno=number) as caller:
        while True:
            head, descriptors, _, _ = socket.recv_fds(caller, 4, 2)
            if len(head) < 4:
                break
            request = json.loads(_exactly(caller, int.from_bytes(head, "big")))
            if (fork := os.fork()) == 0:
                caller.close()
                _run(request, *descriptors)
            forks.append(fork)
            for descriptor in descriptors:
                os.close(descriptor)
    for fork in forks:
        with suppress(ProcessLookupError, ChildProcessError):
            os.waitid(os.P_PID, fork, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # is it still ours?
            os.killpg(fork, signal.SIGTERM)


def _exactly(caller: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = caller.recv(size - len(found))
        if not part:
            raise SystemExit
        found += part
    return found


def _run(request: dict[str, Any], output: int, status: int) -> None:
    """Be `dvc WORDS`; never returns."""
    code = 1
    try:
        os.setsid()  # a group that can be stopped with all that it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.write(status, f"{os.getpid()}\n".encode())
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        os.environ.clear()
        os.environ.update(request["around"])
        os.chdir(request["root"])
        from dvc.cli import main as dvc

        code = dvc(request["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        os.write(2, f"ERROR: {error!r}\n".encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(status, f"{code}\n".encode())
        os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
