"""A second release beside the main one: for a share of people, or in the shadow."""

from bridgerec.serving.canary.plan import CANARY, Plan, read_plan, write_plan
from bridgerec.serving.canary.releases import Releases
from bridgerec.serving.canary.routes import canary_routes

__all__ = ["CANARY", "Plan", "Releases", "canary_routes", "read_plan", "write_plan"]
