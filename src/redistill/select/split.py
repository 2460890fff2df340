"""Which problems are held out: never trained on, kept for choosing between checkpoints.

    is_dev("p0123456789abcdef", seed=0, dev_fraction=0.05)   ->  False for about 95 of 100 ids

The split is by problem, so that no trace of a held-out question is trained on, and it looks at nothing but the id:
a problem keeps its side when others are added, removed, reordered or moved to another shard.
"""

from redistill.records import content_id


def is_dev(problem_id: str, *, seed: int, dev_fraction: float) -> bool:
    """True for about `dev_fraction` of all ids, chosen by a hash of (seed, id).

    A larger fraction only adds problems: whatever was held out at 0.05 is still held out at 0.1.
    """
    return int(content_id("", "dev", str(seed), problem_id), 16) / 2**64 < dev_fraction
