"""Pictures beside text: what an item looks like is mixed into what its text says.

A gate of the item's own, from both of its vectors (as in gated multimodal units, Arevalo et al.
2017), says how much.  The gate of an item without a picture is shut, so that its text alone
counts, to the last bit.  While training some pictures are taken away, so that the model can do
without.  Nothing here draws from the common random numbers: a catalogue without pictures, and a
model that does not use them, learn the same.
"""

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from bridgerec.data.dataset import Images

OPEN = -1.0  # of the gate before its sigmoid, at first: a quarter picture


class FusionOptions(BaseModel):
    """`images`: use the pictures that the embed stage has vectors of.  `image_dropout`: share of
    pictures that are taken away at each step of training."""

    images: bool = True
    image_dropout: float = Field(0.2, ge=0, lt=1)


class Fusion(nn.Module):
    """Content of `size` numbers from text, whose frozen vectors have `width`, and pictures.

    The projection of pictures starts at zero, so that training begins from text alone.
    """

    image: Tensor
    present: Tensor

    def __init__(self, images: Images, width: int, size: int, dropout: float, seed: int) -> None:
        super().__init__()
        seen = images.vectors.shape[1]
        # numbers of about 1, so that the projection comes on within a few steps
        scaled = torch.as_tensor(images.vectors) * seen**0.5
        self.register_buffer("image", scaled, persistent=False)
        present = torch.as_tensor(images.present)[:, None].float()
        self.register_buffer("present", present, persistent=False)
        self.project = nn.Parameter(torch.zeros(seen, size))
        self.gate = nn.Parameter(torch.zeros(width + seen, 1))
        self.open = nn.Parameter(torch.full((1,), OPEN))
        self.dropout = dropout
        self.draws = torch.Generator(torch.get_default_device()).manual_seed(seed)

    def forward(self, content: Tensor, vectors: Tensor, items: Tensor) -> Tensor:
        """`content` (n, size) is what was made of the texts' `vectors` (n, width) of the items
        numbered `items` (n,)."""
        image, shown = self.image[items], self.present[items]
        if self.training:
            shown = shown * (torch.rand(shown.shape, generator=self.draws) >= self.dropout)
        both = torch.cat([vectors, image / image.shape[1] ** 0.5], 1)
        gate = shown * torch.sigmoid(both @ self.gate + self.open)
        return content + gate * (image @ self.project - content)


def fusion(
    images: Images | None, options: FusionOptions, width: int, size: int, seed: int
) -> Fusion | None:
    """The part, where there are pictures and they are wanted."""
    if images is None or not options.images or not images.present.any():
        return None
    return Fusion(images, width, size, options.image_dropout, seed)
