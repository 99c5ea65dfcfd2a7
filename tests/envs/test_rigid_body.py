"""The chain of rigid links against Lagrange's equations, closed forms, conservation laws and another code's words."""

import pytest
import torch
from scipy.linalg import eigh
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.func import jacrev

from datamodules.envs.rigid_body import Links, Pose, SerialChain, solve, symmetric

ARM = ["-y", "-x", "z", "-y", "z", "x", "-y"]
AXIS = {"x": [1.0, 0.0, 0.0], "y": [0.0, 1.0, 0.0], "z": [0.0, 0.0, 1.0]}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def random_links(spans: str, size: int, n: int, armature: float = 0.0) -> Links:
    """Links of any shape; the inertia is that of three rods along the axes, so that it is possible."""
    g = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, n, generator=g, dtype=torch.float64)

    s = len(spans)
    spread = 0.01 * draw(s, size) if s == 3 else -0.01 * draw(s, size)
    isotropic = 0.01 + 0.03 * draw(size)
    return Links(0.2 + 2.0 * draw(size), draw(s, size) - 0.5, draw(s, size) - 0.5, isotropic, spread,
                 armature * draw(size))  # fmt: skip


def motion(size: int, n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    q, v, a = (torch.randn(size, n, generator=g, dtype=torch.float64).to(dtype) for _ in range(3))
    return q, 2.0 * v, 3.0 * a


def unit(name: str) -> Tensor:
    return (-1.0 if name[0] == "-" else 1.0) * torch.tensor(AXIS[name[-1]], dtype=torch.float64)


def rodrigues(axis: Tensor, angle: Tensor) -> Tensor:
    zero = torch.zeros_like(axis[0])
    k = torch.stack(
        [torch.stack(r) for r in ((zero, -axis[2], axis[1]), (axis[2], zero, -axis[0]), (-axis[1], axis[0], zero))]
    )
    return torch.eye(3, dtype=angle.dtype) + angle.sin() * k + (1.0 - angle.cos()) * (k @ k)


def positions(axes: list[str], spans: str, offset: Tensor, centre: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (K, 3, 3) and centres of mass (K, 3) of one chain, by products of matrices: the tests' own kinematics."""
    basis = torch.stack([torch.tensor(AXIS[s], dtype=torch.float64) for s in spans])  # (S, 3)
    turn, hinge, frames, centres = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), [], []
    for i, name in enumerate(axes):
        turn = turn @ rodrigues(unit(name), q[i])
        frames.append(turn)
        centres.append(hinge + turn @ (centre[:, i] @ basis))
        hinge = hinge + turn @ (offset[:, i] @ basis)
    return torch.stack(frames), torch.stack(centres)


def lagrangian(axes: list[str], spans: str, links: Links, row: int):
    """(T, V) of chain ``row`` as functions of (q, v), from velocities by differentiation of the positions."""
    mass, isotropic, spread = links.mass[:, row], links.isotropic[:, row], links.spread[:, :, row]
    basis = torch.stack([torch.tensor(AXIS[s], dtype=torch.float64) for s in spans])
    local = isotropic[:, None, None] * torch.eye(3, dtype=torch.float64) + torch.einsum(
        "sk,si,sj->kij", spread, basis, basis
    )

    def place(q: Tensor) -> tuple[Tensor, Tensor]:
        return positions(axes, spans, links.offset[:, :, row], links.centre[:, :, row], q)

    def kinetic(q: Tensor, v: Tensor) -> Tensor:
        frame, _ = place(q)
        frame_rate, speed = (torch.einsum("...k,k->...", j, v) for j in jacrev(place)(q))
        body_rate = torch.einsum("kij,kil->kjl", frame, frame_rate)  # R^T dR/dt, skew
        omega = torch.stack((body_rate[:, 2, 1], body_rate[:, 0, 2], body_rate[:, 1, 0]), 1)
        rotation = torch.einsum("ki,kij,kj->", omega, local, omega)
        return 0.5 * (rotation + (mass * speed.square().sum(1)).sum() + (links.armature[:, row] * v.square()).sum())

    def potential(q: Tensor) -> Tensor:
        return 9.81 * (mass * place(q)[1][:, 2]).sum()

    return kinetic, potential


CHAINS = [(ARM, "z", 0.0), (ARM, "xyz", 0.05), (["x", "-z", "y"], "xyz", 0.0), (["-y", "y"], "xz", 0.0)]


@pytest.mark.parametrize(("axes", "spans", "armature"), CHAINS)
def test_kinematics_are_products_of_rotations(axes, spans, armature):
    n = 4
    links, (q, *_) = random_links(spans, len(axes), n, armature), motion(len(axes), n)
    pose = SerialChain(axes, spans).pose(links, q)
    for row in range(n):
        frames, centres = positions(axes, spans, links.offset[:, :, row], links.centre[:, :, row], q[:, row])
        torch.testing.assert_close(pose.frame[..., row].permute(2, 1, 0), frames)
        torch.testing.assert_close(pose.centre[..., row].T, centres)
    turn = Rotation.identity()
    for i, name in enumerate(axes):
        turn = turn * Rotation.from_rotvec(float(q[i, 0]) * unit(name).numpy())
    torch.testing.assert_close(pose.frame[:, :, -1, 0].T, torch.from_numpy(turn.as_matrix()))


@pytest.mark.parametrize(("axes", "spans", "armature"), CHAINS)
def test_mass_matrix_is_the_hessian_of_kinetic_energy(axes, spans, armature):
    n = 3
    chain, links, (q, v, _) = (
        SerialChain(axes, spans),
        random_links(spans, len(axes), n, armature),
        motion(len(axes), n),
    )
    pose = chain.pose(links, q)
    matrix = symmetric(chain.mass_matrix(links, pose)).permute(2, 0, 1)
    for row in range(n):
        kinetic, potential = lagrangian(axes, spans, links, row)
        torch.testing.assert_close(matrix[row], jacrev(jacrev(kinetic, 1), 1)(q[:, row], v[:, row]))
        energy = chain.energy(links, pose, v)[:, row]
        torch.testing.assert_close(energy, torch.stack((kinetic(q[:, row], v[:, row]), potential(q[:, row]))))
    assert (torch.linalg.eigvalsh(matrix) > 0.0).all()


@pytest.mark.parametrize(("axes", "spans", "armature"), CHAINS)
def test_motion_obeys_the_equations_of_lagrange(axes, spans, armature):
    """d/dt dT/dv - dT/dq + dV/dq = torque, with the total derivative written out."""
    n = 3
    size, chain = len(axes), SerialChain(axes, spans)
    links, (q, v, a) = random_links(spans, size, n, armature), motion(size, n)
    pose = chain.pose(links, q)
    torque, bias, load = chain.inverse(links, pose, v, a), chain.inverse(links, pose, v), chain.load(links, pose)
    for row in range(n):
        kinetic, potential = lagrangian(axes, spans, links, row)
        at = q[:, row], v[:, row]
        inertial = jacrev(jacrev(kinetic, 1), 1)(*at) @ a[:, row]
        centrifugal = jacrev(jacrev(kinetic, 1), 0)(*at) @ v[:, row] - jacrev(kinetic, 0)(*at)
        weight = jacrev(potential)(q[:, row])
        torch.testing.assert_close(torque[:, row], inertial + centrifugal + weight)
        torch.testing.assert_close(bias[:, row], centrifugal + weight)
        torch.testing.assert_close(load[:, row], weight)


@pytest.mark.parametrize(("axes", "spans", "armature"), CHAINS)
def test_inverse_of_forward_is_the_torque(axes, spans, armature):
    size, n, chain = len(axes), 50, SerialChain(axes, spans)
    links, (q, v, torque) = random_links(spans, size, n, armature), motion(size, n)
    pose = chain.pose(links, q)
    again = chain.inverse(links, pose, v, chain.forward(links, pose, v, torque))
    torch.testing.assert_close(again, torque, rtol=1e-7, atol=1e-7)


def test_solve_is_that_of_linalg():
    g = torch.Generator().manual_seed(0)
    root, right = torch.randn(20, 7, 7, generator=g, dtype=torch.float64), torch.randn(7, 20, generator=g).double()
    matrix = root @ root.mT + 0.1 * torch.eye(7)
    lower = matrix.tril() + torch.full_like(matrix, torch.nan).triu(1)  # the upper triangle is not read
    x = solve(lower.permute(1, 2, 0).contiguous(), right)
    torch.testing.assert_close(x.T, torch.linalg.solve(matrix, right.T))


def pendulum(length: float, mass: float, inertia: float) -> Links:
    one = torch.ones(1, 1, dtype=torch.float64)
    return Links(mass * one, -length * one[None], -length * one[None], inertia * one, 0.0 * one[None], 0.0 * one)


def test_a_pendulum_swings_as_in_the_textbook():
    """I q'' = -m g l sin q, with I = m l^2 + J, about any horizontal axis."""
    length, mass, inertia = 0.4, 1.7, 0.02
    q = torch.linspace(-3.0, 3.0, 13, dtype=torch.float64).unsqueeze(0)
    for axis in ("x", "-x", "y", "-y"):
        chain, links = SerialChain([axis], "z"), pendulum(length, mass, inertia)
        acceleration = chain.forward(links, chain.pose(links, q), torch.ones_like(q), torch.zeros_like(q))
        torch.testing.assert_close(acceleration, -mass * 9.81 * length / (mass * length**2 + inertia) * q.sin())


def test_a_double_pendulum_swings_as_in_the_textbook():
    """Two point masses on two rods (Goldstein, Poole, Safko 2002, ch. 1): angles q1 and q1 + q2 to the vertical."""
    m1, m2, l1, l2, g = 1.3, 0.7, 0.5, 0.3, 9.81
    n = 9
    (q, v, _), one = motion(2, n), torch.ones(1, dtype=torch.float64)
    lengths = -torch.stack((l1 * one, l2 * one))[None]
    zero = torch.zeros(2, 1, dtype=torch.float64)
    links = Links(torch.stack((m1 * one, m2 * one)), lengths, lengths, zero, zero[None], zero)
    chain = SerialChain(["-y", "-y"], "z")
    got = chain.forward(links, chain.pose(links, q), v, torch.zeros_like(q))
    first, second = q[0], q[0] + q[1]  # absolute angles
    w1, w2, delta = v[0], v[0] + v[1], q[0] - (q[0] + q[1])
    total = m1 + m2
    matrix = torch.stack(
        (
            torch.stack((total * l1 * torch.ones(n), m2 * l2 * delta.cos())),
            torch.stack((l1 * delta.cos(), l2 * torch.ones(n))),
        )
    ).permute(2, 0, 1)
    right = torch.stack(
        (-m2 * l2 * w2**2 * delta.sin() - total * g * first.sin(), l1 * w1**2 * delta.sin() - g * second.sin()), 1
    )
    absolute = torch.linalg.solve(matrix, right)
    torch.testing.assert_close(got, torch.stack((absolute[:, 0], absolute[:, 1] - absolute[:, 0])))


def test_momentum_about_the_vertical_is_conserved():
    """Gravity has no moment about z: a free first hinge along z keeps the angular momentum, row 0 of M v."""
    axes, n = ["z", "y", "x", "y"], 8
    chain, links, (q, v, _) = SerialChain(axes), random_links("xyz", 4, n), motion(4, n)

    def momentum() -> Tensor:
        return torch.einsum("jn,jn->n", symmetric(chain.mass_matrix(links, chain.pose(links, q)))[0], v)

    before, h = momentum(), 1e-3

    def rates(q: Tensor, v: Tensor) -> Tensor:
        return chain.forward(links, chain.pose(links, q), v, torch.zeros_like(q))

    for _ in range(300):
        middle = v + 0.5 * h * rates(q, v)
        q, v = q + h * middle, v + h * rates(q + 0.5 * h * v, middle)
    torch.testing.assert_close(momentum(), before, rtol=1e-4, atol=1e-4)


def test_bodies_of_revolution_are_a_case_of_any_bodies():
    n = 5
    thin, (q, v, a) = random_links("z", 7, n), motion(7, n)
    zero = torch.zeros_like(thin.offset)
    whole = thin._replace(
        offset=torch.cat((zero, zero, thin.offset)),
        centre=torch.cat((zero, zero, thin.centre)),
        spread=torch.cat((zero, zero, thin.spread)),
    )
    narrow, wide = SerialChain(ARM, "z"), SerialChain(ARM, "xyz")
    torch.testing.assert_close(
        narrow.inverse(thin, narrow.pose(thin, q), v, a), wide.inverse(whole, wide.pose(whole, q), v, a)
    )


def test_a_batch_is_its_rows_alone():
    n = 33
    chain, links, (q, v, torque) = SerialChain(ARM, "z"), random_links("z", 7, n), motion(7, n, torch.float32)
    links = Links(*(x.float() for x in links))
    together = chain.forward(links, chain.pose(links, q), v, torque)
    for row in (0, 31, 32):
        alone = Links(*(x[..., row : row + 1] for x in links))
        at = slice(row, row + 1)
        one = chain.forward(alone, chain.pose(alone, q[:, at]), v[:, at], torque[:, at])
        assert torch.equal(one, together[:, at])


def test_links_of_all_chains_have_a_last_axis_of_one():
    n = 6
    chain, links, (q, v, torque) = SerialChain(ARM), random_links("xyz", 7, 1), motion(7, n)
    many = Links(*(x.expand(*x.shape[:-1], n) for x in links))
    once = chain.forward(links, chain.pose(links, q), v, torque)
    torch.testing.assert_close(once, chain.forward(many, chain.pose(many, q), v, torque))


def test_inputs_are_not_changed():
    chain, links, (q, v, torque) = SerialChain(ARM), random_links("xyz", 7, 2), motion(7, 2)
    kept = [x.clone() for x in (*links, q, v, torque)]
    pose: Pose = chain.pose(links, q)
    copies = [x.clone() for x in pose]
    chain.forward(links, pose, v, torque), chain.load(links, pose), chain.energy(links, pose, v)
    chain.inverse(links, pose, v, torque)
    assert all(torch.equal(x, y) for x, y in zip((*links, q, v, torque), kept, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(pose, copies, strict=True))


def test_an_unknown_axis_is_named():
    with pytest.raises(ValueError, match="'w' is no axis"):
        SerialChain(["x", "w"])


def test_a_hanging_chain_has_the_modes_of_its_weight_and_its_mass():
    """Small swings from rest in mode i: acceleration = -omega_i^2 q, with K u = omega^2 M u (K: dV/dq, differenced)."""
    chain, links = SerialChain(["-y"] * 5, "z"), random_links("z", 5, 1)
    links = links._replace(offset=-links.offset.abs(), centre=-links.centre.abs())
    zero = torch.zeros(5, 5, dtype=torch.float64)
    matrix = symmetric(chain.mass_matrix(links, chain.pose(links, zero)))[..., 0]
    small = 1e-6 * torch.eye(5, dtype=torch.float64)
    stiffness = (chain.load(links, chain.pose(links, small)) - chain.load(links, chain.pose(links, -small))) / 2e-6
    torch.testing.assert_close(stiffness, stiffness.T, rtol=1e-6, atol=1e-6)
    square, modes = (torch.from_numpy(x) for x in eigh(stiffness.numpy(), matrix.numpy()))
    got = chain.forward(links, chain.pose(links, 1e-5 * modes), zero, zero)
    torch.testing.assert_close(got, -1e-5 * square * modes, rtol=1e-4, atol=1e-8)
