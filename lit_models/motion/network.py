"""Networks of motion: its units, an encoder of sound, and the denoiser, a DiT over frames under text and sound."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litmotif.errors import ArgumentError

from ..layers.dit import DiTBlock, Modulations, TimeEmbedding, modulate
from ..layers.sizes import TransformerSizes


def sinusoids(length: int, size: int) -> Tensor:
    """Positions as sines, then cosines, of falling frequencies (Vaswani et al., arXiv:1706.03762, section 3.5).

    Args:
        length: positions T.
        size: columns D.

    Returns:
        (T, D) float32.
    """
    half = (size + 1) // 2
    omega = torch.exp(torch.arange(half) * (-math.log(10_000.0) / half))
    angle = torch.arange(length)[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :size]


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
            raise ArgumentError(
                f"audio_kernel={kernel_size}: an odd number of frames, so that the result stays aligned."
            )
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


@dataclass(frozen=True)
class Network(TransformerSizes):
    """Sizes of ``MotionTransformer``.

    Attributes:
        frames_per_token: P frames that one token tells of, 1 or even; attention is over T / P tokens. Tokens overlap in
            what they predict: two make each frame, so that motion goes on smoothly from one to the next.
        text_token: let frames also attend to the text, as a token of its own (Tevet et al., arXiv:2209.14916).
        audio_layers: convolutions of ``AudioEncoder``.
        audio_kernel: frames that each of them sees, odd.

    Raises:
        ValueError: an odd number of frames above 1 for a token.
    """

    frames_per_token: int = 1
    text_token: bool = False
    audio_layers: int = 3
    audio_kernel: int = 5

    def __post_init__(self) -> None:
        if self.frames_per_token < 1 or (self.frames_per_token > 1 and self.frames_per_token % 2):
            raise ArgumentError(f"frames_per_token={self.frames_per_token}: 1, or an even number.")


class MotionTransformer(nn.Module):
    """DiT blocks with adaLN-zero (Peebles & Xie, arXiv:2212.09748) over frames; what it gives at the start is 0.

    adaLN is told the highest noise level of a row and its text, each token its own level beside it, so that known
    frames stand among noisy ones at level 0; one level for a row is the same as that level for each of its frames. A
    text or an audio that is dropped is replaced by a learned embedding, which is what classifier-free guidance starts
    from (Ho and Salimans, arXiv:2207.12598). Frames that do not exist are seen by none. The head reads what the blocks
    made of a token beside the token itself, by as much as the level of noise allows: nearly clean motion goes through
    as it is.

    Args:
        features: columns F of a frame.
        num_train_timesteps: noise levels K.
        max_frames: longest motion.
        network: its sizes.
        text_size: width of a text's embedding; 0 for a model without text.
        audio_size: features A of a frame of audio; 0 for a model without audio.

    Raises:
        ValueError: the heads do not divide the width, an even kernel, or a token of a text that there is not.
    """

    def __init__(
        self,
        features: int,
        num_train_timesteps: int,
        max_frames: int,
        network: Network = Network(),
        text_size: int = 0,
        audio_size: int = 0,
    ) -> None:
        super().__init__()
        hidden_size, per = network.hidden_size, network.frames_per_token
        if network.text_token and not text_size:
            raise ArgumentError("text_token=true needs a text: give the model a text encoder.")
        self.num_train_timesteps, self.max_frames, self.text_token = num_train_timesteps, max_frames, network.text_token
        self.frames_per_token = per
        self.text_size, self.audio_size = text_size, audio_size
        self.enter = nn.Linear(features, hidden_size)
        self.register_buffer("positions", sinusoids(max_frames, hidden_size), persistent=False)
        self.positions: Tensor
        self.level, self.frame_level = TimeEmbedding(hidden_size), TimeEmbedding(hidden_size)
        if text_size:
            self.text = nn.Sequential(nn.Linear(text_size, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))
            self.no_text = nn.Parameter(torch.randn(hidden_size) * 0.02)
        if audio_size:
            self.audio = AudioEncoder(audio_size, hidden_size, network.audio_layers, network.audio_kernel)
            self.no_audio = nn.Parameter(torch.randn(hidden_size) * 0.02)
        sizes = (hidden_size, network.num_heads, network.mlp_ratio, network.dropout)
        self.blocks = nn.ModuleList(DiTBlock(*sizes) for _ in range(network.num_layers))
        self.modulations = Modulations(hidden_size, network.num_layers)
        self.join = nn.Linear(per * hidden_size, hidden_size) if per > 1 else nn.Identity()
        self.past = nn.Linear(hidden_size, hidden_size)  # how much of each token goes past the blocks
        self.head: nn.Linear | nn.ConvTranspose1d = nn.Linear(2 * hidden_size, features)
        if per > 1:
            self.head = nn.ConvTranspose1d(2 * hidden_size, features, 2 * per, stride=per, padding=per // 2)
        nn.init.ones_(self.past.bias)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        x: Tensor,
        levels: Tensor,
        valid: Tensor,
        condition: Tensor | None = None,
        audio: Tensor | None = None,
        drop: Tensor | None = None,
    ) -> Tensor:
        """Predict what the process asks for.

        Args:
            x: noisy motion (B, T, F).
            levels: noise levels int64, (B, T) or one a row (B, 1).
            valid: frames that exist (B, T) bool, the first ones of each row.
            condition: the text's embedding (B, text_size); None drops the text of all rows.
            audio: features (B, T, A); None drops the audio of all rows.
            drop: which condition to leave out, bool: text and audio (B, 2), or both alike (B, 1).

        Returns:
            (B, T, F), and 0 where no frame exists.

        Raises:
            ValueError: more than ``max_frames`` frames, or a condition that the model has no use for.
        """
        batch, length, _ = x.shape
        self._check(length, condition, audio)
        dropped = x.new_zeros(batch, 2, dtype=torch.bool) if drop is None else drop.expand(batch, 2)
        levels = torch.where(valid, levels, 0)  # (B, T)
        told = self.level(levels.amax(dim=1) / self.num_train_timesteps)  # (B, D)
        tokens = self.enter(x.masked_fill(~valid[..., None], 0)) + self.positions[:length]  # (B, T, D)
        tokens = tokens + F.embedding(levels, self._frame_levels(x))  # (B, T, D)
        if self.audio_size:
            tokens = tokens + self._audio(x, audio, valid, dropped[:, 1:])  # (B, T, D)
        tokens, exist = self._joined(tokens, valid)  # (B, N, D), (B, N) with N = ceil(T / P)
        steps, own = tokens.shape[1], tokens * self.past(F.silu(told))[:, None]  # (B, N, D)
        seen = exist | (torch.arange(steps, device=x.device) == 0)  # (B, N): softmax over no token would be NaN
        if self.text_size:
            text = self._text(x, condition, dropped[:, :1])  # (B, D)
            told = told + text  # (B, D)
            if self.text_token:
                tokens = torch.cat([tokens, text[:, None]], dim=1)  # (B, N + 1, D)
                seen = torch.cat([seen, seen.new_ones(batch, 1)], dim=1)  # (B, N + 1)
        blocks, head = self.modulations(told)  # layers of (B, 6, D), (B, 2, D)
        for block, modulation in zip(self.blocks, blocks, strict=True):
            tokens, _ = block(tokens, modulation, visible=seen[:, None, None])  # (B, N (+ 1), D)
        made = modulate(tokens[:, :steps], head[:, :1], head[:, 1:])  # (B, N, D)
        out = self._frames(torch.cat([made, own], dim=-1), exist)[:, :length]  # (B, T, F)
        return out.masked_fill(~valid[..., None], 0)  # (B, T, F)

    def _frame_levels(self, x: Tensor) -> Tensor:
        """What a frame is told of each level (K + 1, D): far fewer rows than frames."""
        share = torch.arange(self.num_train_timesteps + 1, device=x.device) / self.num_train_timesteps
        return self.frame_level(share)  # type: ignore[no-any-return]

    def _joined(self, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """One token for P frames (B, N, D), of which at least one exists (B, N); frames that do not are 0 in it."""
        per = self.frames_per_token
        if per == 1:
            return tokens, valid
        behind = -valid.shape[1] % per
        tokens = F.pad(tokens.masked_fill(~valid[..., None], 0), (0, 0, 0, behind))  # (B, N P, D)
        exist = F.pad(valid, (0, behind)).view(len(valid), -1, per).any(dim=-1)
        return self.join(tokens.view(*exist.shape, -1)), exist

    def _frames(self, tokens: Tensor, exist: Tensor) -> Tensor:
        """What tokens (B, N, 2 D) say of their frames (B, N P, F); one that does not exist says nothing."""
        if self.frames_per_token == 1:
            return self.head(tokens)  # type: ignore[no-any-return]
        return self.head((tokens * exist[..., None]).transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]

    def _check(self, length: int, condition: Tensor | None, audio: Tensor | None) -> None:
        if length > self.max_frames:
            raise ArgumentError(
                f"{length} frames: this model sees at most max_frames={self.max_frames}; train one with more, or "
                "generate by overlapping windows."
            )
        for name, given, size in (("text", condition, self.text_size), ("audio", audio, self.audio_size)):
            if given is not None and given.shape[-1] != size:
                raise ArgumentError(
                    f"{name} of {given.shape[-1]} columns: this model was built with {name}_size={size}."
                )
        if audio is not None and audio.shape[1] != length:
            raise ArgumentError(f"audio of {audio.shape[1]} frames for a motion of {length}: they need to be as many.")

    def _text(self, x: Tensor, condition: Tensor | None, dropped: Tensor) -> Tensor:
        """What adaLN is told of the text (B, D); all parameters take part in every call, as DDP needs it."""
        if condition is None:
            condition, dropped = x.new_zeros(len(x), self.text_size), torch.ones_like(dropped)
        text = self.text(condition)  # (B, D)
        return torch.where(dropped, self.no_text.to(text.dtype), text)

    def _audio(self, x: Tensor, audio: Tensor | None, valid: Tensor, dropped: Tensor) -> Tensor:
        """What is heard at each frame (B, T, D)."""
        if audio is None:
            audio, dropped = x.new_zeros(*x.shape[:2], self.audio_size), torch.ones_like(dropped)
        heard = self.audio(audio, valid)  # (B, T, D)
        return torch.where(dropped[..., None], self.no_audio.to(heard.dtype), heard)
