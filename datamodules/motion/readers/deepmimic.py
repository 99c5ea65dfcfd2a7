"""DeepMimic's humanoid3d clips: JSON with 44 numbers a frame, one keyframe after its time.

Duration (s), root x y z (m), then rotations as quaternions w x y z, or as an angle (rad) about z for knees and elbows.
"""

from pathlib import Path

import roma
import torch
from torch import Tensor

from litmotif.bounds import read_json
from litmotif.geometry.rotations import slerp

from ...core import DataError
from ...files.checks import beginning, floats, one_fps
from ..clip import Clip
from ..skeleton import layout
from .bvh import whole

COLUMNS = 44
_BALLS = {"root": 4, "chest": 8, "neck": 12, "right_hip": 16, "right_ankle": 21, "right_shoulder": 25, "left_hip": 30,
          "left_ankle": 35, "left_shoulder": 39}  # fmt: skip
_HINGES = {"right_knee": 20, "right_elbow": 29, "left_knee": 34, "left_elbow": 43}
_LENGTHS = (0.25, 1.25)
"""Of quaternions, which are scaled to 1: frames of the clips themselves were blended without, and go down to 0.58."""


def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip, at the rate of most of its frames; where one lasts longer, frames are put between.

    Raises:
        DataError: no such JSON, rows of another length, NaN, durations below 0, or a quaternion that is none.
    """
    path = Path(path)
    try:
        frames = read_json(path)["Frames"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no JSON with Frames ({error}).") from error
    ragged = next((row for row, frame in enumerate(frames) if len(frame) != COLUMNS), None)
    if ragged is not None:
        raise DataError(f"{path}: frame {ragged} has {len(frames[ragged])} values, {COLUMNS} are needed.")
    values = floats(path, "Frames", frames, COLUMNS)
    rotations = roma.identity_quat((len(values), 15), dtype=torch.float64).clone()
    skeleton = layout("deepmimic")
    for joint, column in _BALLS.items():
        quats = values[:, column : column + 4][:, [1, 2, 3, 0]]
        lengths = quats.norm(dim=1)
        row = int((lengths - 1).abs().argmax())
        if not _LENGTHS[0] < float(lengths[row]) < _LENGTHS[1]:
            raise DataError(f"{path}: frame {row}, {joint}: {quats[row].tolist()} (x y z w) is no unit quaternion.")
        rotations[:, skeleton.names.index(joint)] = quats / lengths[:, None]
    for joint, column in _HINGES.items():
        turned = roma.euler_to_unitquat("Z", values[:, column : column + 1])
        rotations[:, skeleton.names.index(joint)] = turned
    rate, root, rotations = _even(path, values[:, 0], values[:, 1:4], rotations, fps)
    return [Clip.posed(name or path.stem, rate, skeleton, root, rotations, source=str(path))]


def looks_like(path: Path) -> bool:
    """Whether the file begins as JSON of such a motion does."""
    start = beginning(path, ".txt")
    return start.lstrip().startswith("{") and ('"Frames"' in start or '"Loop"' in start)


def _even(
    path: Path, durations: Tensor, root: Tensor, rotations: Tensor, fps: float | None
) -> tuple[float, Tensor, Tensor]:
    """Rate, root and rotations at even times."""
    lasting = durations[:-1]  # the last frame is where the motion ends
    if not len(lasting):
        return one_fps(path, None, fps), root, rotations
    if (lasting <= 0).any():
        raise DataError(f"{path}: frame {int((lasting <= 0).nonzero()[0])} lasts {float(lasting.min()):g} s: above 0.")
    step = lasting.median()
    rate = one_fps(path, whole(1 / float(step)), fps)
    if ((lasting - step).abs() < 1e-3 * step).all():
        return rate, root, rotations
    times = torch.cat((lasting.new_zeros(1), lasting.cumsum(0)))
    at = torch.arange(round(float(times[-1] / step)) + 1, dtype=times.dtype) * step
    row = torch.searchsorted(times, at.clamp_max(float(times[-1])), right=True).sub(1).clamp(0, len(times) - 2)
    share = ((at - times[row]) / (times[row + 1] - times[row])).clamp(0, 1)
    between = root[row] + share[:, None] * (root[row + 1] - root[row])
    return rate, between, slerp(rotations[row], rotations[row + 1], share[:, None, None])
