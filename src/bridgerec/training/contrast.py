"""What else two views of a person, or two items of one person, should agree on (InfoNCE)."""

import torch
from torch import Tensor

from bridgerec.training.losses import info_nce
from bridgerec.training.user_tower import UserTower


def between_domains(tower: UserTower, entries: Tensor, kind: Tensor, temperature: float) -> Tensor:
    """A person known by the newest item's domain alone, and by the other domains alone.

    `entries` (batch, length, size); `kind` (batch, length) holds -1 at padding, which comes first.
    """
    first = kind[:, -1]
    inside = kind == first[:, None]
    views = torch.stack([inside, ~inside & (kind >= 0)], 1)
    both = views.any(2).all(1)
    if int(both.sum()) < 2:
        return torch.zeros(())
    asked = first[both][:, None].expand(-1, 2)
    users = tower(entries[both], kind[both].clamp(min=0), views[both], asked)
    return info_nce(users[:, 0], users[:, 1], temperature)


def between_items(entries: Tensor, kind: Tensor, temperature: float) -> Tensor:
    """An item of the newest item's domain and one of another that the same person met."""
    inside = kind == kind[:, -1:]
    outside = ~inside & (kind >= 0)
    both = inside.any(1) & outside.any(1)
    if int(both.sum()) < 2:
        return torch.zeros(())
    one, two = (
        entries[both, torch.multinomial(mask[both].float(), 1)[:, 0]] for mask in (inside, outside)
    )
    return info_nce(one, two, temperature)


def between_views(
    tower: UserTower, views: list[tuple[Tensor, Tensor]], temperature: float
) -> Tensor:
    """Two augmented histories of the same people (CL4SRec), as pairs of `entries` and `kind`."""
    asked = views[0][1][:, -1:]
    left, right = (
        tower(entries, kind.clamp(min=0), (kind >= 0)[:, None], asked)[:, 0]
        for entries, kind in views
    )
    return info_nce(left, right, temperature)
