"""Forward kinematics: where the bodies of a tree are, and how they are turned."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import roma
import torch
from torch import Tensor, nn

from ..errors import DataError


def check_tree(names: Sequence[str], parents: Sequence[int], where: str = "skeleton") -> None:
    """Raise where these are no tree: as many parents as names, the root first with -1, children after their parents.

    Raises:
        DataError: names the first body that is out of place.
    """
    if not names or len(parents) != len(names):
        raise DataError(f"{where}.parents has {len(parents)} entries for {len(names)} names.")
    for body, (name, parent) in enumerate(zip(names, parents, strict=True)):
        if names.index(name) != body:
            raise DataError(f"{where}: two parts are called {name}: rename one.")
        if not (parent == -1 if body == 0 else 0 <= parent < body):
            raise DataError(
                f"{where}.parents[{body}]={parent} ({name!r}): the root comes first with -1, every other body after "
                "its parent."
            )


class Tree(nn.Module):
    """N bodies that hang on each other, computed all of one depth at once; no checkpoint keeps its buffers.

    p_i = p_parent + R_parent o_i and R_i = R_parent r_i, with the rotations r and offsets o of bodies in their parents.
    Rotations are unit quaternions x y z w (..., N, 4) or matrices (..., N, 3, 3), which are faster by far.

    Args:
        parents: index of each body's parent, -1 for the root, which comes first; see ``check_tree``.
    """

    by_depth: Tensor
    by_number: Tensor
    above: Tensor
    inner: Tensor

    def __init__(self, parents: Sequence[int]) -> None:
        super().__init__()
        levels = _levels(parents)
        flat = [body for level in levels for body in level]
        above = [0, *(high.index(parents[body]) for high, low in pairwise(levels) for body in low)]
        self.widths = [len(level) for level in levels]
        self.inner_widths = [sum(body in parents for body in level) for level in levels]
        self._index("by_depth", flat)
        self._index("by_number", [flat.index(body) for body in range(len(flat))])
        self._index("above", above)  # place of the parent in its level
        self._index("inner", [body for body in flat if body in parents])  # a leaf's rotation moves nothing

    def forward(self, root: Tensor, rotations: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """All bodies.

        Args:
            root: position of the root (..., 3) m.
            rotations: of bodies in their parents, of the root in the world (..., N, 4) or (..., N, 3, 3).
            offsets: of bodies from their parents (..., N, 3) m, in the parents' frames; the root's is not used.

        Returns:
            Positions (..., N, 3) m and rotations (..., N, 4) or (..., N, 3, 3) in the world.
        """
        ordered = rotations.index_select(_axis(rotations), self.by_depth.to(rotations.device))
        return self._walk(root, ordered, offsets, self.widths)

    def positions(self, root: Tensor, rotations: Tensor, offsets: Tensor) -> Tensor:
        """The first of what ``forward`` gives, of the rotations of ``inner`` bodies alone (..., I, 4 or 3, 3)."""
        return self._walk(root, rotations, offsets, self.inner_widths)[0]

    def _walk(self, root: Tensor, rotations: Tensor, offsets: Tensor, widths: list[int]) -> tuple[Tensor, Tensor]:
        """From depth to depth; rotations are ordered by depth, ``widths`` of each."""
        axis, device = _axis(rotations), rotations.device
        by_depth, by_number, above = (index.to(device) for index in (self.by_depth, self.by_number, self.above))
        turn, place = rotations, root[..., None, :]
        turns, places = [], [place]
        with torch.autocast(device.type, enabled=False):
            levels = zip(
                torch.split(rotations, widths, dim=axis),
                torch.split(offsets.index_select(-2, by_depth), self.widths, dim=-2),
                torch.split(above, self.widths),
                strict=True,
            )
            for depth, (local, offset, parents) in enumerate(levels):
                if depth:
                    turn = turn.index_select(axis, parents)  # of the parents
                    place = place.index_select(-2, parents) + _act(turn, offset)  # (..., L, 3)
                    places.append(place)
                turn = _compose(turn.narrow(axis, 0, local.shape[axis]), local) if depth else local
                turns.append(turn)
            positions = torch.cat(places, dim=-2).index_select(-2, by_number)
            found = torch.cat(turns, dim=axis)
            return positions, found.index_select(axis, by_number) if widths is self.widths else found

    def _index(self, name: str, bodies: list[int]) -> None:
        self.register_buffer(name, torch.tensor(bodies, dtype=torch.long), persistent=False)


@cache
def tree_of(parents: tuple[int, ...]) -> Tree:
    """The tree on the CPU, made once."""
    return Tree(parents)


def local_rotations(parents: Sequence[int], orientations: Tensor) -> Tensor:
    """Quaternions in the parents' frames (..., N, 4) from those in the world: the inverse of ``Tree.forward``."""
    above = orientations[..., [max(parent, 0) for parent in parents], :]
    local = roma.quat_product(roma.quat_conjugation(above), orientations)
    return torch.cat((orientations[..., :1, :], local[..., 1:, :]), dim=-2)


def depths(parents: Sequence[int]) -> list[int]:
    """Steps from the root to each body."""
    found: list[int] = []
    for parent in parents:
        found.append(0 if parent < 0 else found[parent] + 1)
    return found


def _levels(parents: Sequence[int]) -> list[list[int]]:
    """Bodies of each depth, those with children first."""
    depth = depths(parents)
    order = sorted(range(len(depth)), key=lambda body: body not in parents)
    return [[body for body in order if depth[body] == level] for level in range(max(depth) + 1)]


def _axis(rotations: Tensor) -> int:
    """Where the bodies are: before quaternions, or before matrices."""
    return -2 if rotations.shape[-1] == 4 else -3


def _act(turn: Tensor, offset: Tensor) -> Tensor:
    if turn.shape[-1] == 4:
        return roma.quat_action(turn, offset)  # type: ignore[no-any-return]
    return (turn @ offset[..., None]).squeeze(-1)


def _compose(one: Tensor, other: Tensor) -> Tensor:
    return roma.quat_product(one, other) if one.shape[-1] == 4 else one @ other
