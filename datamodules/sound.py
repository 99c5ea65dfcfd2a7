"""Audio features: log-mel spectrum and onset strength at the frames of a motion.

The window is 64 ms at any sampling rate, and spectra are scaled so that the same sound gives the same numbers.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from litmotif.errors import DataError

WINDOW, ONSET_WINDOW = 0.064, 0.032  # s; the shorter one tells better when
TOP = 8000.0  # Hz, of the highest band
ONSET_RATE, ONSET_BANDS = 100.0, 40  # Hz at which onsets are looked for; bands
FLOOR = 1e-9  # power in a band that counts as silence, about 60 dB below a full sine


def audio_features(samples: Tensor | NDArray[Any], rate: float, fps: float, frames: int, bands: int = 32) -> Tensor:
    """Features of a sound, one row a frame of the motion.

    Args:
        samples: (N,) in [-1, 1].
        rate: of the samples, Hz; at least 16 kHz.
        fps: of the motion, Hz.
        frames: T; frame i is centred at i / fps.
        bands: M of the mel spectrum.

    Returns:
        (T, M + 1) float32: log10 of the power in each band, and the strongest onset since the frame before.

    Raises:
        DataError: the sound ends before the motion, is shorter than a window, or its rate is too low.
    """
    sound = _checked(samples, rate)
    if len(sound) / rate < (frames - 1) / fps - 1e-6:
        raise DataError(
            f"audio of {len(sound) / rate:.2f} s is shorter than {frames} frames at {fps:g} fps "
            f"({(frames - 1) / fps:.2f} s). Cut the motion, or check the sampling rate ({rate:g} Hz)."
        )
    moments = torch.arange(frames, dtype=torch.float64) / fps
    bins = mel(sound, rate, moments, bands).clamp_min(FLOOR).log10()
    envelope = onset_strength(sound, rate)
    last = (moments * ONSET_RATE + 1e-6).long().clamp_max(len(envelope) - 1) + 1
    span = math.ceil(ONSET_RATE / fps)
    padded = torch.cat((envelope.new_zeros(span), envelope))
    onset = padded.unfold(0, span, 1)[last].amax(-1, keepdim=True)
    return torch.cat((bins, onset), dim=1).float()


def mel(samples: Tensor, rate: float, moments: Tensor, bands: int, seconds: float = WINDOW) -> Tensor:
    """Power in mel bands (T, M) of windows of ``seconds`` centred at moments (T,) s.

    Equal to ``librosa.feature.melspectrogram(power=2, center=True, pad_mode="reflect", fmax=8000)`` divided by the
    square of the window's sum, where hops are whole samples: a full sine gives 0.25 times its band's gain.
    """
    size = round(seconds * rate)
    window = torch.hann_window(size, dtype=torch.float64)
    starts = (moments * rate).round().long()  # after padding by half a window
    beyond = max(0, int(starts.max()) + size - len(samples) - size // 2)
    padded = torch.nn.functional.pad(samples.double()[None], (size // 2, beyond), mode="reflect")[0]
    spectrum = torch.fft.rfft(padded.unfold(0, size, 1)[starts] * window)
    power = spectrum.abs().square() / window.sum() ** 2  # (T, size // 2 + 1)
    result: Tensor = power @ mel_bank(rate, size, bands).T
    return result


@lru_cache(maxsize=8)
def mel_bank(rate: float, size: int, bands: int) -> Tensor:
    """Triangles of Slaney's mel scale (M, size // 2 + 1): linear to 1 kHz, logarithmic above; of equal area."""
    edges = _from_mel(torch.linspace(0.0, _to_mel(TOP), bands + 2, dtype=torch.float64))
    frequency = torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0) * (2 / (edges[2:] - edges[:-2]))[:, None]


def _to_mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _from_mel(mels: Tensor) -> Tensor:
    return torch.where(mels < 15, mels * 200 / 3, 1000 * (math.log(6.4) * (mels - 15) / 27).exp())


def onset_strength(samples: Tensor | NDArray[Any], rate: float) -> Tensor:
    """How much louder the bands have become within 10 ms, mean over bands: (N / rate * 100,) in decades of power.

    The spectral flux of Boeck & Widmer 2013 without its maximum filter, as ``librosa.onset.onset_strength`` has it.
    """
    sound = _checked(samples, rate)
    moments = torch.arange(max(1, math.ceil(len(sound) / rate * ONSET_RATE)), dtype=torch.float64) / ONSET_RATE
    level = mel(sound, rate, moments, ONSET_BANDS, ONSET_WINDOW).clamp_min(FLOOR).log10()
    return torch.nn.functional.pad(level.diff(dim=0).clamp_min(0).mean(1), (1, 0))


def onsets(samples: Tensor | NDArray[Any], rate: float, threshold: float = 0.08) -> Tensor:
    """Moments at which something begins to sound: (K,) s, at least 80 ms apart.

    Peaks of the onset strength: the highest within 40 ms, and above the mean of the 200 ms around by ``threshold``.
    """
    strength = onset_strength(samples, rate)
    pool = torch.nn.functional
    highest = pool.max_pool1d(strength[None], 9, 1, 4)[0]
    around = pool.avg_pool1d(strength[None], 21, 1, 10)[0]
    peaks = torch.nonzero((strength >= highest) & (strength > around + threshold)).flatten()
    apart = torch.cat((peaks.new_full((1,), True, dtype=torch.bool), peaks.diff() > 8)) if len(peaks) else peaks.bool()
    return peaks[apart].double() / ONSET_RATE


def _checked(samples: Tensor | NDArray[Any], rate: float) -> Tensor:
    sound = samples if isinstance(samples, Tensor) else torch.from_numpy(np.asarray(samples))
    if sound.ndim != 1 or not sound.is_floating_point():
        raise DataError(
            f"audio is {tuple(sound.shape)} {sound.dtype}: one channel (N,) of floats in [-1, 1] is needed."
        )
    if rate < 2 * TOP:
        raise DataError(f"audio at {rate:g} Hz: at least {2 * TOP:g} Hz is needed. Resample the sound.")
    if len(sound) <= WINDOW * rate:
        raise DataError(f"audio of {len(sound) / rate:.3f} s: more than {WINDOW} s is needed. Leave the clip out.")
    return sound
