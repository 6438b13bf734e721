"""Another release beside the one that the service began with: on trial for a share of people or in
the shadow, or in its place."""

from bridgerec.serving.canary.plan import CANARY, Plan, move_file, read_plan, write_plan
from bridgerec.serving.canary.releases import Releases
from bridgerec.serving.canary.routes import canary_routes

__all__ = [
    "CANARY",
    "Plan",
    "Releases",
    "canary_routes",
    "move_file",
    "read_plan",
    "write_plan",
]
