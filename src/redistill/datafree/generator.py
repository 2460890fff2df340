"""The two small networks of synthesis: the generator, made anew for every batch, and the head of the contrastive term, which stays."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class Generator(nn.Module):
    """z (N, latent) to images (N, channels, size, size) with values in 0..1.

    One network for a whole batch ties its images together, which keeps them smoother than free pixels would be.
    Weights are drawn from N(0, 0.02), scales of batch normalisation from N(1, 0.02). size: a multiple of 4.
    """

    def __init__(self, *, latent: int, width: int, size: int, channels: int) -> None:
        super().__init__()
        self.side, self.wide = size // 4, 2 * width
        self.first = nn.Linear(latent, self.wide * self.side**2)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(self.wide),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(self.wide, self.wide, 3, padding=1),
            nn.BatchNorm2d(self.wide),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(self.wide, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Sigmoid(),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(cast(Tensor, module.bias))
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.first(z).view(len(z), self.wide, self.side, self.side))


class Head(nn.Module):
    """Features (N, D) to unit vectors (N, width): linear, ReLU, linear, divided by the length."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, width))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.layers(features), dim=1)
