"""What augmentation policies draw from and share: numbers for each film of a batch, and local contrast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Draws:
    """Uniform numbers for each film of a batch, drawn on the CPU and moved to the batch's device."""

    def __init__(self, n: int, device: torch.device, generator: torch.Generator):
        self.n, self.device, self.generator = n, device, generator

    def uniform(self, low: float, high: float, *, columns: int = 1) -> Tensor:
        value = torch.rand(self.n, columns, generator=self.generator) * (high - low) + low
        return value.squeeze(1).to(self.device, non_blocking=True)  # (B,) or (B, columns)

    def hit(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability  # (B,) bool

    def seed_noise(self, like: Tensor) -> Tensor:
        """Standard normal noise of the shape of ``like`` from a generator of that device, seeded by ours."""
        seed = int(torch.randint(2**62, (1,), generator=self.generator))
        return torch.randn(like.shape, generator=torch.Generator(like.device).manual_seed(seed), device=like.device)


def clahe(x: Tensor, *, tiles: int = 4, bins: int = 64, clip: float | Tensor = 2.0) -> Tensor:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of (B, H, W) in [0, 1], batched.

    ``clip`` is the limit in multiples of a flat histogram's height, one for all or one a film (B,); what is cut off is
    spread evenly. The mappings of the ``tiles`` x ``tiles`` tiles are interpolated bilinearly at each pixel.
    """
    n, h, w = x.shape
    row = (torch.arange(h, device=x.device) * tiles // h).view(1, -1, 1)
    column = (torch.arange(w, device=x.device) * tiles // w).view(1, 1, -1)
    level = (x * (bins - 1)).round().long()  # (B, H, W)
    cell = ((torch.arange(n, device=x.device).view(-1, 1, 1) * tiles + row) * tiles + column) * bins + level
    histogram = torch.bincount(cell.flatten(), minlength=n * tiles * tiles * bins).float().view(n, -1, bins)
    share = histogram / histogram.sum(-1, keepdim=True)
    limit = torch.as_tensor(clip, device=x.device).view(-1, 1, 1) / bins
    excess = (share - limit).clamp_min(0).sum(-1, keepdim=True)
    mapping = (torch.minimum(share, limit) + excess / bins).cumsum(-1)  # (B, T*T, bins), monotone, ends at 1
    volume = mapping.view(n, tiles, tiles, bins).permute(0, 3, 1, 2).unsqueeze(1)  # (B, 1, bins, T, T)
    # One trilinear look-up: grey level x tile row x tile column, tile centres at (i + .5) / T.
    y = ((torch.arange(h, device=x.device) + 0.5) / h * 2 - 1).view(1, -1, 1).expand(n, h, w)
    z = ((torch.arange(w, device=x.device) + 0.5) / w * 2 - 1).view(1, 1, -1).expand(n, h, w)
    depth = ((x * (bins - 1) + 0.5) / bins * 2 - 1).clamp(-1, 1)
    points = torch.stack([z, y, depth], -1).unsqueeze(1)  # (B, 1, H, W, 3)
    return F.grid_sample(volume, points, padding_mode="border", align_corners=False).view(n, h, w)
