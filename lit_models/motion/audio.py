"""What is heard at each frame, as tokens that are added to the motion's."""

import torch.nn.functional as F
from torch import Tensor, nn


class AudioEncoder(nn.Module):
    """Residual convolutions over audio features at the motion's frame rate; frame t of the result belongs to frame t.

    Dilations double from layer to layer (van den Oord et al., arXiv:1609.03499, section 2.1), looking as far ahead as
    back: gestures begin before the words that they belong to. Before each convolution what lies beyond the end is set
    to 0, as what lies beyond the edge of a batch is, so that neither the padding's length nor its content matters.

    Args:
        audio_size: features A of a frame.
        hidden_size: token width D.
        num_layers: convolutions.
        kernel_size: frames that each one sees, odd.

    Raises:
        ValueError: an even kernel, which would shift the result by half a frame.
    """

    def __init__(self, audio_size: int, hidden_size: int, num_layers: int = 3, kernel_size: int = 5) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"audio_kernel={kernel_size}: an odd number of frames, so that the result stays aligned.")
        self.reach = kernel_size // 2 * (2**num_layers - 1)
        """Frames that a token hears before and after its own; the receptive field is 2 ``reach`` + 1."""
        self.enter = nn.Linear(audio_size, hidden_size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden_size, hidden_size, kernel_size, padding="same", dilation=2**layer)
            for layer in range(num_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(num_layers))
        self.leave = nn.Linear(hidden_size, hidden_size)

    def forward(self, audio: Tensor, valid: Tensor) -> Tensor:
        """Encode.

        Args:
            audio: features (B, T, A).
            valid: frames that exist (B, T) bool.

        Returns:
            Tokens (B, T, D); of no meaning where no frame exists.
        """
        beyond = ~valid[..., None]  # (B, T, 1)
        x = self.enter(audio.masked_fill(beyond, 0))  # (B, T, D)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            heard = norm(x).masked_fill(beyond, 0).transpose(1, 2)  # (B, D, T)
            x = x + F.gelu(convolution(heard)).transpose(1, 2)  # (B, T, D)
        return self.leave(x)  # type: ignore[no-any-return]  # (B, T, D)
