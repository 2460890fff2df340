"""Random views of images in a batch, each image its own, through which gradients flow.

crop(images, pad=4)                 the image, shifted by up to 4 pixels, zeros where it has left
resized_crop(images, min_area=.25)  a part of it, as large as the whole again
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_ASPECT = math.log(4 / 3)  # of a resized crop: width over height between 3/4 and 4/3


def crop(images: Tensor, pad: int) -> Tensor:
    """Images (N, C, H, W) padded by `pad` zeros on each side and cropped to H x W at a random place."""
    if pad == 0:
        return images
    count, channels, height, width = images.shape
    padded = F.pad(images, (pad, pad, pad, pad))
    top, left = torch.randint(0, 2 * pad + 1, (2, count, 1), device=images.device)
    rows = (top + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (left + torch.arange(width, device=images.device))[:, None, None, :]
    one = torch.arange(count, device=images.device)[:, None, None, None]
    return padded[one, torch.arange(channels, device=images.device)[None, :, None, None], rows, columns]


def resized_crop(images: Tensor, min_area: float) -> Tensor:
    """A random part of each image (N, C, H, W), between `min_area` of its area and all of it, resized to H x W."""
    count = len(images)
    area = min_area + (1 - min_area) * torch.rand(count, device=images.device)
    aspect = torch.exp(_ASPECT * (2 * torch.rand(count, device=images.device) - 1))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    # the part's centre, in coordinates from -1 to 1, so that the whole part lies inside
    x, y = ((2 * torch.rand(count, device=images.device) - 1) * (1 - side) for side in (width, height))
    zero = torch.zeros_like(x)
    affine = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
    grid = F.affine_grid(affine.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def flip(images: Tensor) -> Tensor:
    """Every image (N, C, H, W) or its mirror image, each with probability one half."""
    mirrored = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def augmented(images: Tensor, *, pad: int, flips: bool) -> Tensor:
    """A crop of the padded image, mirrored every second time where `flips`: the global view, and what a student sees."""
    views = crop(images, pad)
    return flip(views) if flips else views


def local_view(images: Tensor, *, min_area: float, flips: bool) -> Tensor:
    """A part of the image resized, mirrored every second time where `flips`."""
    views = resized_crop(images, min_area)
    return flip(views) if flips else views
