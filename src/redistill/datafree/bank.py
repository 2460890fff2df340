"""The memory bank: raw features of the two views of images made before, in a ring of fixed size.

bank = MemoryBank(4, features=2); bank.add(local, global_)     the fifth row takes the place of the first
"""

import torch
from torch import Tensor


class MemoryBank:
    """Up to `capacity` rows of (local, global) features; a new row takes the place of the oldest. Holds no gradients."""

    def __init__(self, capacity: int, features: int) -> None:
        self.local = torch.zeros(capacity, features)
        self.global_ = torch.zeros(capacity, features)
        self.next = 0  # the place of the next row
        self.count = 0  # rows that are filled

    def __len__(self) -> int:
        return self.count

    def add(self, local: Tensor, global_: Tensor) -> None:
        """Put in the rows (N, D) of a batch; of more than fit the last ones stay."""
        capacity = len(self.local)
        skipped = max(0, len(local) - capacity)
        places = (self.next + torch.arange(skipped, len(local))) % capacity
        self.local[places] = local[skipped:].detach().to(self.local)
        self.global_[places] = global_[skipped:].detach().to(self.global_)
        self.next = (self.next + len(local)) % capacity
        self.count = min(capacity, self.count + len(local))

    def sample(self, most: int) -> tuple[Tensor, Tensor]:
        """Up to `most` different rows, drawn evenly: their local and their global features."""
        chosen = torch.randperm(self.count)[:most]
        return self.local[chosen], self.global_[chosen]
