"""Train, validation and test split: whole motions are dealt out, never windows of them."""

import math
from collections.abc import Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_info

from .core import DataError, random_stream


def deal(of: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Deal whole motions out, with everything that was cut or mirrored from them.

    Args:
        of: the motion that each recording belongs to.
        shares: of the motions, by split, adding up to 1: ``{"train": 0.8, "val": 0.1, "test": 0.1}``.
        seed: of the order in which they are dealt out.

    Returns:
        Numbers of recordings by split, rising. A split with a share has at least one motion.

    Raises:
        DataError: the shares do not add up, or there are fewer motions than splits.
    """
    if min(shares.values()) < 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise DataError(f"shares={dict(shares)}: none below 0, together 1.")
    motions = sorted(set(of))
    wanted = {name: share for name, share in shares.items() if share > 0}
    if len(motions) < len(wanted):
        raise DataError(
            f"{len(motions)} motions cannot be split into {', '.join(wanted)}: add recordings, or set "
            f"{' or '.join(f'data.{name}' for name in wanted if name != 'train')} to 0, where the training motions "
            "then stand in."
        )
    counts = {name: max(1, round(share * len(motions))) for name, share in wanted.items()}
    largest = max(wanted, key=lambda name: wanted[name])
    counts[largest] = 0
    while sum(counts.values()) >= len(motions):  # many small splits of few motions
        counts[max(counts, key=lambda name: counts[name])] -= 1
    counts[largest] = len(motions) - sum(counts.values())
    order = random_stream(seed).permutation(len(motions)).tolist()
    dealt = iter(order)
    home = {motions[next(dealt)]: name for name, count in counts.items() for _ in range(count)}
    return {name: [k for k, motion in enumerate(of) if home[motion] == name] for name in shares}


def stand_in(dealt: Mapping[str, list[int]], shares: Mapping[str, float]) -> dict[str, list[int]]:
    """Splits without a share: the training split stands in for them, and the log says so."""
    found = dict(dealt)
    for name in (name for name, share in shares.items() if not share and not found[name]):
        rank_zero_info(f"data.{name} is 0: the training motions stand in for it.")
        found[name] = dealt["train"]
    return found
