"""What an environment shows, as a planner takes it: a row a grid, of the size and kind that it was trained with."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from litmotif.batches.plans import Observation
from litmotif.errors import ArgumentError

from .observation import AGENT

View = Literal["full", "partial"]
_WRAPPED = "minigrid.wrappers.FullyObsWrapper shows the whole grid with the agent in it"


def row_of(shown: Mapping[str, Any] | Any, words: Sequence[str]) -> Observation:
    """One row of what MiniGrid's environments give.

    Args:
        shown: ``image`` (W, H, 3), ``direction`` and, where there are ``words``, ``mission``; or a full view's image
            alone: the agent's cell says where it looks.
        words: vocabulary of the mission.

    Raises:
        ArgumentError: a part is missing, or an image alone that does not show the agent.
    """
    parts = shown if isinstance(shown, Mapping) else {"image": shown}
    if missing := [key for key in ("image", *(["mission"] if words else [])) if key not in parts]:
        raise ArgumentError(
            f"plan: {', '.join(missing)} missing; there are: {', '.join(map(str, parts)) or 'none'}. Give what the "
            "environment gives: image, direction, mission."
        )
    image = torch.as_tensor(parts["image"])
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ArgumentError(f"plan: image {tuple(image.shape)}: (W, H, 3), object, colour and state of each cell.")
    known = {word: index + 1 for index, word in enumerate(words)}
    mission = [known.get(word, 0) for word in str(parts["mission"]).split()] if known else []
    if "direction" in parts:
        heading = int(parts["direction"])
    else:
        agents = image[image[..., 0] == AGENT]
        if len(agents) != 1:
            raise ArgumentError(f"plan: no direction, and no agent in the image that would tell it. {_WRAPPED}.")
        heading = int(agents[0, 2])
    return Observation(image[None], torch.tensor([heading]), torch.tensor(mission, dtype=torch.int64)[None])


def require_view(image: Tensor, view_size: Sequence[int], view: View | None) -> None:
    """See that images are such as the planner was trained with.

    Args:
        image: (B, W, H, 3).
        view_size: width and height that it knows.
        view: what they show; None: not known.

    Raises:
        ArgumentError: another size, or the agent where none should be, or none.
    """
    size, wanted = list(image.shape[1:3]), list(view_size)
    if image.ndim != 4 or size != wanted:
        raise ArgumentError(
            f"plan: a view of {' x '.join(map(str, size))} cells, and this planner knows {' x '.join(map(str, wanted))}"
            f"{f' ({view} view)' if view else ''}. Show it that, or train one on this environment ({_WRAPPED})."
        )
    seen = (image[..., 0] == AGENT).flatten(1).any(dim=1)
    if view == "full" and not bool(seen.all()):
        raise ArgumentError(f"plan: a partial view, and this planner was trained on full ones. {_WRAPPED}.")
    if view == "partial" and bool(seen.any()):
        raise ArgumentError(
            "plan: a full view, and this planner was trained on partial ones. Give it what the environment shows "
            "without a wrapper."
        )
