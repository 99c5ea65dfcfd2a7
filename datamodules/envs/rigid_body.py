"""Dynamics of a chain of rigid links with one hinge each: n chains in one set of tensors, episodes on the last axis.

All vectors are in the base frame and all spatial vectors are taken about the origin of the base (Featherstone 2008,
chapters 2, 5 and 6): a serial chain then needs sums along its links and no change of frame. In the zero posture the
frames of all links are parallel to the base, so that a chain is its axes, its offsets and its masses.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.errors import ArgumentError


class Links(NamedTuple):
    """The bodies of n chains of K links; a last axis of 1 stands for all chains.

    Offsets, centres and inertias lie along the S axes of the link's own frame that the chain spans. The inertia about
    the centre of mass is ``isotropic * 1 + sum_s spread_s e_s e_s^T``: with S = 1 a body of revolution about e_1, with
    S = 3 any body whose principal axes are those of the frame.

    Attributes:
        mass: (K, n), kg, >= 0.
        offset: (S, K, n), m: from a link's hinge to the next one; the last is the tip of the chain.
        centre: (S, K, n), m: from a link's hinge to its centre of mass.
        isotropic: (K, n), kg m^2.
        spread: (S, K, n), kg m^2.
        armature: (K, n), kg m^2: what the drive's rotor adds to the inertia of its own hinge.
    """

    mass: Tensor
    offset: Tensor
    centre: Tensor
    isotropic: Tensor
    spread: Tensor
    armature: Tensor


class Pose(NamedTuple):
    """Where the links of n chains are.

    Attributes:
        frame: (3, 3, K, n): the axes x, y, z of each link's frame (first index) in the base (second index).
        motion: (6, K, n): each hinge's screw, its axis and the velocity (m/rad) it gives a point at the origin.
        hinge: (3, K, n), m.
        centre: (3, K, n), m: centres of mass.
        tip: (3, n), m: the end of the chain.
    """

    frame: Tensor
    motion: Tensor
    hinge: Tensor
    centre: Tensor
    tip: Tensor


def cross(first: Tensor, second: Tensor) -> Tensor:
    """Vector product of (3, ...) with (3, ...)."""
    product = torch.empty_like(first)
    (a, b, c), (d, e, f), (x, y, z) = first.unbind(), second.unbind(), product.unbind()
    torch.mul(b, f, out=x).addcmul_(c, e, value=-1.0)
    torch.mul(c, d, out=y).addcmul_(a, f, value=-1.0)
    torch.mul(a, e, out=z).addcmul_(b, d, value=-1.0)
    return product


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Scalar product over the first axis."""
    (a, *rest), (b, *others) = first.unbind(), second.unbind()
    total = a * b
    for one, other in zip(rest, others, strict=True):
        total.addcmul_(one, other)
    return total


def outward_(value: Tensor) -> Tensor:
    """Sum in place from the base to each link: (..., K, n)."""
    for inner, outer in pairwise(value.unbind(-2)):
        outer.add_(inner)
    return value


def inward_(value: Tensor) -> Tensor:
    """Sum in place from the tip to each link: (..., K, n)."""
    for outer, inner in pairwise(reversed(value.unbind(-2))):
        inner.add_(outer)
    return value


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve A x = b for n matrices at once, by Cholesky's factorisation A = L L^T.

    b rides along as one more row of A: the elimination then leaves L^-1 b in it.

    Args:
        matrix: (K, K, n), symmetric positive definite; only the lower triangle is read.
        right: (K, n).

    Returns:
        (K, n).
    """
    size = len(right)
    lower = torch.cat((matrix, right.unsqueeze(0)))  # (K + 1, K, n)
    columns = [lower[j:, j] for j in range(size)]  # (K + 1 - j, n) each, from the diagonal down
    for j, column in enumerate(columns):
        column.mul_(column[0].rsqrt())
        for k in range(1, size - j):
            columns[j + k].addcmul_(column[k:], column[k], value=-1.0)
    x = lower[size]
    for j in range(size - 1, -1, -1):
        last = x[j].div_(columns[j][0])
        x[:j].addcmul_(lower[j, :j], last, value=-1.0)
    return x


class SerialChain:
    """Kinematics and dynamics of a chain of hinges.

    Args:
        axes: of the hinges in the zero posture, from the base to the tip: "x", "y" or "z", with "-" in front where
            a positive angle turns against the axis.
        spans: the axes of a link's frame along which offsets and centres lie and about which it is not isotropic;
            "z" for bodies of revolution, at a third of the work of "xyz".
        gravity: m/s^2, along -z.

    Raises:
        ValueError: an axis that is none.
    """

    def __init__(self, axes: Sequence[str], spans: str = "xyz", gravity: float = 9.81) -> None:
        for name in (*axes, *spans):
            if name.removeprefix("-") not in ("x", "y", "z"):
                raise ArgumentError(
                    f"axes and spans: '{name}' is no axis; write x, y or z (axes: with - for its opposite)."
                )
        self.size, self.gravity = len(axes), gravity
        self._axes = ["xyz".index(name[-1]) for name in axes]
        self._signs = [-1.0 if name[0] == "-" else 1.0 for name in axes]
        self._spans = ["xyz".index(name) for name in spans]

    def pose(self, links: Links, angle: Tensor) -> Pose:
        """Forward kinematics.

        Args:
            links: the bodies.
            angle: (K, n), rad.
        """
        size, n = angle.shape
        frame, motion = angle.new_empty(3, 3, size, n), angle.new_empty(6, size, n)
        before = torch.eye(3, dtype=angle.dtype, device=angle.device).unsqueeze(2).expand(3, 3, n).unbind()
        frames, axes = frame.unbind(2), motion[:3].unbind(1)
        turns = zip(self._axes, self._signs, angle.cos().unbind(), angle.sin().unbind(), strict=True)
        for i, (a, sign, cosine, sine) in enumerate(turns):
            b, c = (a + 1) % 3, (a + 2) % 3
            now = frames[i].unbind()
            now[a].copy_(before[a])
            torch.mul(before[b], cosine, out=now[b]).addcmul_(before[c], sine, value=sign)
            torch.mul(before[c], cosine, out=now[c]).addcmul_(before[b], sine, value=-sign)
            torch.mul(before[a], sign, out=axes[i])
            before = now
        step, centre = self._along(links.offset, frame), self._along(links.centre, frame)
        tip = outward_(step)[:, -1]
        hinge = torch.zeros_like(step)
        hinge[:, 1:] = step[:, :-1]
        motion[3:] = cross(hinge, motion[:3])
        return Pose(frame, motion, hinge, centre.add_(hinge), tip)

    def _along(self, lengths: Tensor, vectors: Tensor) -> Tensor:
        """(3, K, n): the sum of the frame's axes, or what else stands in their place, each times its length."""
        total = lengths[0] * vectors[self._spans[0]]
        for length, axis in zip(lengths[1:], self._spans[1:], strict=True):
            total.addcmul_(length, vectors[axis])
        return total

    def inverse(self, links: Links, pose: Pose, speed: Tensor, acceleration: Tensor | None = None) -> Tensor:
        """The torques (K, n), Nm, of a motion: recursive Newton-Euler (Featherstone 2008, table 5.1).

        Args:
            links: the bodies.
            pose: at the angles.
            speed: (K, n), rad/s.
            acceleration: (K, n), rad/s^2; none: zero, which gives the bias, Coriolis and gravity together.
        """
        axis = pose.motion[:3]
        turn = axis * speed
        omega = outward_(turn.clone())
        alpha = cross(omega, turn)
        if acceleration is not None:
            alpha.addcmul_(axis, acceleration)
        outward_(alpha)
        wrench = torch.empty_like(pose.motion)  # (6, K, n): moment about the origin, force
        moment = torch.mul(links.isotropic, alpha, out=wrench[:3])
        second = torch.empty_like(pose.frame)  # d^2/dt^2 of the axes of the frames: alpha x e + omega x (omega x e)
        for spread, s in zip(links.spread, self._spans, strict=True):
            e = pose.frame[s]
            first = cross(omega, e)
            torch.add(cross(alpha, e), cross(omega, first), out=second[s])
            # I alpha + omega x I omega, of the part spread * e e^T of I
            moment.addcmul_(spread * dot(e, alpha), e).addcmul_(spread * dot(e, omega), first)
        step = outward_(self._along(links.offset, second))
        at_centre = self._along(links.centre, second)
        at_centre[:, 1:] += step[:, :-1]
        at_centre[2] += self.gravity  # a base that accelerates upwards stands for gravity
        force = torch.mul(links.mass, at_centre, out=wrench[3:])
        moment += cross(pose.centre, force)
        torque = dot(pose.motion, inward_(wrench))
        return torque if acceleration is None else torque.addcmul_(links.armature, acceleration)

    def mass_matrix(self, links: Links, pose: Pose) -> Tensor:
        """(K, K, n), kg m^2: the composite-rigid-body algorithm (Featherstone 2008, table 6.2).

        Only the lower triangle is right (``symmetric`` makes it whole).
        """
        centre, axis, shift = pose.centre, pose.motion[:3], pose.motion[3:]
        composite = centre.new_empty(10, *centre.shape[1:])  # mass; first moment; second moments xx yy zz, xy xz yz
        composite[0] = links.mass
        first = torch.mul(links.mass, centre, out=composite[1:4])
        square, product = composite[4:7], composite[7:]
        torch.sub(links.isotropic + dot(first, centre), first * centre, out=square)
        torch.mul(first[:1], centre[1:], out=product[:2])
        torch.mul(first[1], centre[2], out=product[2])
        product.neg_()
        for spread, s in zip(links.spread, self._spans, strict=True):
            e = pose.frame[s]
            weighted = spread * e
            square.addcmul_(weighted, e)
            product[:2].addcmul_(weighted[:1], e[1:])
            product[2].addcmul_(weighted[1], e[2])
        inward_(composite)
        mass, h, (xx, yy, zz, xy, xz, yz) = composite[0], composite[1:4], composite[4:].unbind()
        momentum = torch.cat((cross(h, shift), cross(axis, h)))  # (6, K, n), of all links beyond, for a unit speed
        momentum[3:].addcmul_(mass, shift)
        x, y, z = axis.unbind()
        for moment, (a, b, c) in zip(momentum.unbind(), ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz)), strict=False):
            moment.addcmul_(a, x).addcmul_(b, y).addcmul_(c, z)
        # Row j is the momentum of the links from j on along the screws of all hinges: right for those before j.
        (s0, *screws), (p0, *momenta) = pose.motion.unbind(), momentum.unsqueeze(2).unbind()
        matrix = s0 * p0
        for screw, p in zip(screws, momenta, strict=True):
            matrix.addcmul_(screw, p)
        matrix.diagonal(0, 0, 1).T.add_(links.armature)
        return matrix

    def forward(self, links: Links, pose: Pose, speed: Tensor, torque: Tensor) -> Tensor:
        """The accelerations (K, n), rad/s^2, under torques (K, n), Nm: M a + bias = torque."""
        return solve(self.mass_matrix(links, pose), torque - self.inverse(links, pose, speed))

    def load(self, links: Links, pose: Pose) -> Tensor:
        """The torques (K, n), Nm, that hold the chain still against gravity."""
        first = inward_(links.mass * pose.centre[:2])  # (2, K, n), kg m, of the links beyond
        mass = inward_(links.mass.clone())
        axis, hinge = pose.motion[:2], pose.hinge[:2]
        # the moment of the weights about the hinge, (h - m p) x (-g z), against the axis
        lever = axis[0] * (first[1] - mass * hinge[1]) - axis[1] * (first[0] - mass * hinge[0])
        return lever.mul_(self.gravity)

    def energy(self, links: Links, pose: Pose, speed: Tensor) -> Tensor:
        """(2, n), J: kinetic energy, and potential energy of which the origin's height is zero."""
        twist = outward_(pose.motion * speed)
        omega = twist[:3]
        velocity = twist[3:] + cross(omega, pose.centre)
        kinetic = links.mass * dot(velocity, velocity) + links.isotropic * dot(omega, omega)
        kinetic.addcmul_(links.armature, speed.square())
        for spread, s in zip(links.spread, self._spans, strict=True):
            kinetic.addcmul_(spread, dot(pose.frame[s], omega).square())
        return torch.stack((0.5 * kinetic.sum(0), self.gravity * (links.mass * pose.centre[2]).sum(0)))


def symmetric(lower: Tensor) -> Tensor:
    """The whole of (K, K, n) from its lower triangle."""
    below = lower.permute(2, 0, 1).tril()
    return (below + below.tril(-1).mT).permute(1, 2, 0)
