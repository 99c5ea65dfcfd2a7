"""A language small enough to know everything about: its joint table, and the exact denoiser of it."""

import itertools

import torch
from torch import Tensor


class JointTable:
    """Probabilities of every sequence of ``length`` tokens out of ``vocab``; the mask has id ``vocab``."""

    def __init__(self, vocab: int, length: int, seed: int, end_id: int | None = None) -> None:
        self.vocab, self.length, self.mask_id = vocab, length, vocab
        self.sequences = torch.tensor(list(itertools.product(range(vocab), repeat=length)))
        weight = (
            torch.rand(len(self.sequences), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
        )
        if end_id is not None:  # after END only END
            ended = (self.sequences == end_id).int().cummax(dim=1).values.bool()
            weight = weight * ((self.sequences == end_id) == ended).all(dim=1)
        self.p = weight / weight.sum()

    def denoise(self, tokens: Tensor, t: Tensor | None = None) -> Tensor:
        """Exact log posterior of each slot given the slots that are not masked: (B, L, V)."""
        match = ((tokens[:, None] == self.sequences) | (tokens[:, None] == self.mask_id)).all(dim=2)  # (B, S)
        weight = match * self.p  # (B, S)
        one_hot = torch.nn.functional.one_hot(self.sequences, self.vocab).double()  # (S, L, V)
        return torch.einsum("bs,slv->blv", weight, one_hot).log()

    def masked_nll(self) -> Tensor:
        """Summed -log p of the masked slots of every sequence under every mask: (S, 2^L), masks in ``masks`` order."""
        rows = []
        for mask in self.masks():
            tokens = torch.where(mask, self.mask_id, self.sequences)
            log_p = self.denoise(tokens).log_softmax(-1).gather(-1, self.sequences[..., None]).squeeze(-1)
            rows.append(-(log_p * mask).nan_to_num().sum(dim=1))
        return torch.stack(rows, dim=1)

    def masks(self) -> Tensor:
        """All subsets of slots (2^L, L) bool."""
        return torch.tensor(list(itertools.product([False, True], repeat=self.length)))
