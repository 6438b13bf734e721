"""Options of the models that learn by gradients; each one is off at weight 0."""

from pydantic import BaseModel, Field


class RobustnessOptions(BaseModel):
    """Weights are relative to the loss of the next item, 0 is off: `view_weight` of the agreement
    of two augmented views that leave out or shuffle the share `augmentation` of a history
    (`training.augment`), `adversarial_weight` of the loss at item vectors (of unit length) moved
    by `adversarial_epsilon` (`training.adversarial`)."""

    view_weight: float = Field(0.0, ge=0)
    augmentation: float = Field(0.3, gt=0, lt=1)
    adversarial_weight: float = Field(0.0, ge=0)
    adversarial_epsilon: float = Field(0.1, gt=0)
