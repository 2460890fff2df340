"""Token credit: how much each token of an answer has to do with its being right or wrong, by an outcome critic's scores.

    right, wrong = credit(scores)          what to raise a right answer's tokens by, and push a wrong one's down by

Only right and wrong labels are needed, and both are 0 wherever the critic says nothing, so a critic with a new head gives
no token any weight. A critic of this kind marks an answer from its error on, not the one wrong token.
"""

from typing import Literal

import torch
from torch import Tensor

Form = Literal["paper", "running-mean", "running-sum"]


def credit(scores: Tensor, *, form: Form = "paper") -> tuple[Tensor, Tensor]:
    """(weights of a right answer, weights of a wrong one), each (tokens,) from 0 to 1, of one answer's scores (tokens,).

    paper: max(2 s(w_t) - 1, 0) and max(1 - 2 s(w_t), 0), s the sigmoid and w_t the token's score (OREAL, arXiv 2502.06781,
    Eq. 10). running-mean: the same of the mean score of the tokens up to t, as the authors' code has it. running-sum: of their
    sum, which of an implicit critic is what it says of the answer so far (arXiv 2412.01981, Proposition 3.1).
    """
    if form == "running-sum":
        scores = scores.cumsum(0)
    if form == "running-mean":
        scores = scores.cumsum(0) / torch.arange(1, len(scores) + 1).to(scores)
    sure = torch.tanh(scores / 2)  # 2 sigmoid - 1
    return sure.clamp(min=0), (-sure).clamp(min=0)
