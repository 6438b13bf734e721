"""The BentoML service around the application."""

import gc
import logging
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

from bridgerec.runtime import prepare_environment, read_json
from bridgerec.serving.app import make_app
from bridgerec.serving.canary import CANARY
from bridgerec.serving.embedder import Embedder
from bridgerec.serving.guard import GuardSettings, guard
from bridgerec.serving.live import Live
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.routes.hot import First
from bridgerec.serving.state import open_store
from bridgerec.serving.tied import end_with
from bridgerec.serving.traffic import TrafficLog

STARTING = 60.0  # seconds to load the release that the others went over to
# new objects that call the collector: what 64 requests in work hold is no garbage, and looking
# through it after every 700 took a twentieth of the time
GARBAGE = 50_000
AFTER = 1.0  # seconds from loaded to quickened: it must not hold up the first answers


def make_service(bundle: Path) -> Any:
    """A BentoML service that answers from `bundle`; ready only when all its hashes fit."""
    prepare_environment()
    import bentoml

    settings = read_json(bundle / "manifest.json")["service"]
    parent = os.getppid()  # of a worker: BentoML's manager
    state: dict[str, Live] = {}
    app = make_app(lambda: state["live"])

    class Recommendations:
        """Loads the bundle when a worker starts."""

        def __init__(self) -> None:
            end_with(parent)
            # nobody reads it, but uvicorn would put each line together
            logging.getLogger("uvicorn.access").propagate = False
            # a damaged bundle or an unusable store raises here: the worker never becomes ready
            recommender = Recommender.open(bundle)
            recommender.warm()
            state["live"] = open_live(recommender, settings["timeout_seconds"])
            gc.collect()
            gc.freeze()  # what was loaded lives as long as the process: no need to scan it
            gc.set_threshold(GARBAGE)
            later = threading.Timer(AFTER, quicken, [recommender])
            later.daemon = True
            later.start()

        def __is_ready__(self) -> bool:
            return "live" in state

        @bentoml.on_shutdown
        def close(self) -> None:
            state["live"].close()

    service = bentoml.service(
        name=settings["name"],
        # the guard's own limit comes first; its log and metrics take the place of BentoML's, which
        # hold raw paths and so the ids in them
        traffic={"timeout": settings["timeout_seconds"] + 1},
        # excluded from OpenTelemetry, which costs more than the whole answer even when it is off
        tracing={"sample_rate": 0.0, "excluded_urls": ".*"},
        metrics={"enabled": False},
        logging={"access": {"enabled": False}},
        # `bentoml serve --api-workers` does not reach services of this kind
        workers=int(os.environ.get("BRIDGEREC_WORKERS", "1")),
    )(Recommendations)
    first = partial(First, live=lambda: state["live"])
    service.add_asgi_middleware(guard, settings=GuardSettings.of(settings), first=first)
    return bentoml.asgi_app(app, path="/")(service)


def quicken(recommender: Recommender) -> None:
    """What a worker does once it answers: it loads torch, if the models gain by it."""
    recommender.quicken()
    gc.freeze()


def open_live(recommender: Recommender, timeout: float) -> Live:
    """A worker's parts, as the environment names them: BRIDGEREC_STATE (a folder or a redis://
    address), BRIDGEREC_TRAFFIC (a folder) and BRIDGEREC_CANARY (the control file of a second
    release); `timeout` seconds bound every request."""
    place, traffic = os.environ.get("BRIDGEREC_STATE"), os.environ.get("BRIDGEREC_TRAFFIC")
    control = os.environ.get(CANARY)
    live = Live(
        recommender,
        # a request must still be answered after it waited for the encoder
        Embedder(recommender.folder, patience=0.5 * timeout),
        store=open_store(place) if place else None,
        log=TrafficLog(Path(traffic)) if traffic else None,
        control=Path(control) if control else None,
    )
    live.releases.move.look(now=True)  # a worker that was started again answers as the others do
    live.releases.move.wait(STARTING)
    return live
