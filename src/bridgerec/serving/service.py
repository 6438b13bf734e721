"""The BentoML service around the application."""

import gc
import os
from pathlib import Path
from typing import Any

from bridgerec.runtime import prepare_environment, read_json
from bridgerec.serving.app import make_app
from bridgerec.serving.guard import GuardSettings, guard
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.traffic import TrafficLog


def make_service(bundle: Path) -> Any:
    """A BentoML service that answers from `bundle`; ready only when all its hashes fit."""
    prepare_environment()
    import bentoml

    settings = read_json(bundle / "manifest.json")["service"]
    state: dict[str, Any] = {"log": None}
    app = make_app(lambda: state["recommender"], settings["max_body_bytes"], lambda: state["log"])

    class Recommendations:
        """Loads the bundle when a worker starts."""

        def __init__(self) -> None:
            # a damaged bundle raises here: the worker never becomes ready
            state["recommender"] = Recommender.open(bundle)
            folder = os.environ.get("BRIDGEREC_TRAFFIC")
            state["log"] = TrafficLog(Path(folder)) if folder else None
            gc.collect()
            gc.freeze()  # what was loaded lives as long as the process: no need to scan it

        def __is_ready__(self) -> bool:
            return "recommender" in state

        @bentoml.on_shutdown
        def close(self) -> None:
            if state["log"] is not None:
                state["log"].close()

    service = bentoml.service(
        name=settings["name"],
        # the guard's own limit comes first; its log and metrics take the place of BentoML's, which
        # hold raw paths and so the ids in them
        traffic={"timeout": settings["timeout_seconds"] + 1},
        tracing={"sample_rate": 0.0},
        metrics={"enabled": False},
        logging={"access": {"enabled": False}},
    )(Recommendations)
    service.add_asgi_middleware(guard, settings=GuardSettings.of(settings))
    return bentoml.asgi_app(app, path="/")(service)
