"""Randomness as a function of (seed, place, step): nothing that ran before can change it."""

import numpy as np
import torch


def mix(*keys: int) -> int:
    """One 63-bit seed out of several non-negative integers; nearby keys give unrelated seeds."""
    low, high = np.random.SeedSequence((len(keys), *keys)).generate_state(2)
    return int(low) | (int(high) & 0x7FFFFFFF) << 32


def generator(*keys: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator whose stream depends on ``keys`` only."""
    return torch.Generator(device).manual_seed(mix(*keys))


def seed_globally(device: torch.device, *keys: int) -> None:
    """Make the global generators of the CPU and of ``device`` depend on ``keys`` only.

    ``torch.manual_seed`` also seeds every accelerator that there might be, and writes down the stack for each one that
    has not been used yet, which takes it a millisecond.
    """
    seed = mix(*keys)
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
