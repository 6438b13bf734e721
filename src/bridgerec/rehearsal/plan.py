"""How large a rehearsal is: the world, its calendar, and what the pipeline trains there."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MODELS: dict[str, dict[str, Any]] = {  # quick ones, that fit anew in seconds
    "popularity": {"use": "bridgerec.models.popularity:Popularity"},
    "item_knn": {"use": "bridgerec.models.item_knn:ItemKNN", "neighbours": 100},
    "ease_text": {
        "use": "bridgerec.models.ease:EASE",
        "regularization": 100,
        "text_weight": 2,
        "recency": 0.95,
    },
}


class Plan(BaseModel):
    """A calm stretch of days, then a shift, then days with the old model until drift is found, then
    days after the retraining; `visits` are per day.

    `new_items` is the share of each catalogue that appears with the shift, `turn` how far tastes
    turn towards what appears (0: not at all, 1: nothing of the old taste is left).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(42, ge=0)
    people: int = Field(400, ge=100)
    items: int = Field(160, ge=50)
    calm_days: int = Field(5, ge=2)
    shifted_days: int = Field(6, ge=2)
    later_days: int = Field(5, ge=1)
    visits: int = Field(90, ge=20)
    target: str = "films"
    new_items: float = Field(0.25, gt=0, le=1)
    turn: float = Field(0.6, ge=0, le=1)

    @property
    def days(self) -> int:
        return self.calm_days + self.shifted_days + self.later_days

    @property
    def shift_day(self) -> int:
        """The first day, counted from 0, on which the world is another one."""
        return self.calm_days

    @property
    def swap_day(self) -> int:
        """The first day with the model of the retraining."""
        return self.calm_days + self.shifted_days

    def changed(self, params: dict[str, Any]) -> dict[str, Any]:
        """`params.yaml` of the demo, made small enough for minutes on two cores."""
        params["seed"] = self.seed
        params["targets"] = [self.target]
        # less for the test, so that the days after the shift reach training and validation
        params["split"].update(protocols=["temporal"], test_fraction=0.05)
        params["candidates"], params["models"] = list(MODELS), dict(MODELS)
        params["embed"].pop("image", None)
        params["blend"] = None
        params["evaluation"].update(seeds=1, bootstrap=500)
        params["gate"]["guards"] = {"segments": {}}
        params["gate"]["canary"] = {"weight": 0.25, "answers": 30}
        params["service"].update(timeout_seconds=40, model_seconds=20)  # the machine is busy
        return params
