"""ZeRO stage 1: each process keeps the optimiser's state of its share of the parameters (arXiv:1910.02054)."""

from typing import Any

from torch.distributed.optim import ZeroRedundancyOptimizer


class ShardedOptimizer(ZeroRedundancyOptimizer):
    """PyTorch's, except that a restored state lies in one place only, and where the optimiser's kernel wants it."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep this process's share of a whole state."""
        super().load_state_dict(state_dict)
        self.state.clear()  # its parent leaves a second copy of the share here
        self.optim.load_state_dict(self.optim.state_dict())  # a fused kernel wants its step counters on the device
