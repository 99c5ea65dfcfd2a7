"""The trust region as an optimiser: the step it takes, and what it leaves when no step is good."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lit_models.cpo.network import Distribution, GaussianPolicy, Network
from lit_models.cpo.optimizer import Surrogates, TrustRegion, _Problem
from lit_models.cpo.trust_region import TrustRegionSettings

SAMPLES = 600


class Task:
    """Samples of a small policy with advantages that a linear function of the action explains."""

    def __init__(self, rows=slice(None), constraints=1, dtype=torch.float64, fraction=1.0):
        g = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.policy = GaussianPolicy(5, 2, Network(8, 1)).to(dtype)
        observation = torch.randn(SAMPLES, 5, generator=g)
        noise = torch.randn(SAMPLES, 2, generator=g)
        reward = noise[:, 0] + 0.3 * torch.randn(SAMPLES, generator=g)
        costs = noise @ torch.tensor([[1.0, -1.0], [0.5, 1.0]])[:, :constraints] + observation[:, :1] * noise[:, 1:]
        self.observation = observation[rows].to(dtype)
        with torch.no_grad():
            old = self.policy(self.observation)
            self.old = Distribution(old.location, old.log_std.clone())
            self.action = self.policy.act(old, noise[rows].to(dtype))
            self.log_prob = self.policy.log_prob(old, self.action)
        self.reward, self.costs = reward[rows].to(dtype), (costs - costs.mean(0))[rows].to(dtype)
        self.fraction, self.calls = fraction, 0

    def __call__(self):
        self.calls += 1
        new = self.policy(self.observation)
        ratio = (self.policy.log_prob(new, self.action) - self.log_prob).exp()
        kl = self.policy.kl(self.old, new)
        sums = torch.cat((torch.stack((ratio @ self.reward, kl.sum())), ratio @ self.costs))
        count = round(len(kl) * self.fraction)
        return Surrogates(sums, len(kl), kl[:count].sum(), count)

    def optimizer(self, gaps, reduce=lambda tensor: tensor, **options):
        optimizer = TrustRegion(self.policy.parameters(), TrustRegionSettings(**options), reduce)
        optimizer.gaps = np.array(gaps, dtype=np.float64)
        return optimizer

    def measure(self):
        with torch.no_grad():
            return (self().sums / len(self.reward)).double().numpy()


def flat(parts):
    return torch.cat([part.reshape(-1) for part in parts])


def vector(task):
    return torch.nn.utils.parameters_to_vector(task.policy.parameters()).detach().clone()


@pytest.mark.parametrize("gap", [-1.0, -0.005, 0.0, 0.02])
def test_the_step_uses_the_region_keeps_the_costs_and_says_what_it_did(gap):
    task = Task()
    before = task.measure()
    optimizer = task.optimizer([gap], target_kl=0.01)
    optimizer.step(task)
    reward, kl, cost = task.measure() - before
    told = optimizer.last
    assert told.accepted
    assert told.case == {-1.0: "inactive", -0.005: "boundary", 0.0: "boundary", 0.02: "recovery"}[gap]
    assert 0.9 <= told.kl_share <= 1.0
    assert (told.kl, told.reward_gain, told.cost_changes[0]) == pytest.approx((kl, reward, cost), abs=1e-6)
    assert cost <= max(-gap, 0.0) + 1e-6
    assert reward > 0 or gap > 0


def test_without_constraints_the_direction_is_the_natural_gradient():
    task = Task(constraints=0)
    start = vector(task)
    params = list(task.policy.parameters())
    found = task()
    g = torch.cat([p.reshape(-1) for p in torch.autograd.grad(found.sums[0] / SAMPLES, params, retain_graph=True)])
    slope = torch.cat(
        [p.reshape(-1) for p in torch.autograd.grad(found.curvature / SAMPLES, params, create_graph=True)]
    )
    fisher = torch.stack([flat(torch.autograd.grad(row, params, retain_graph=True)) for row in slope])
    damping = 0.1 * fisher.diagonal().mean()
    natural = torch.linalg.solve(fisher + damping * torch.eye(len(g)), g)
    task.optimizer([], cg_iterations=300, cg_tolerance=1e-12).step(task)
    move = vector(task) - start
    # the damping is estimated from random signs, hence not exactly the mean of the diagonal
    assert torch.nn.functional.cosine_similarity(move, natural, dim=0) > 0.999


def test_the_fisher_matrix_of_a_part_of_the_samples_gives_nearly_the_same_step():
    whole, part = Task(), Task(fraction=0.5)
    start = vector(whole)
    for task in (whole, part):
        task.optimizer([-1.0]).step(task)
    one, other = vector(whole) - start, vector(part) - start
    assert not torch.equal(one, other)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.8


def test_the_old_policy_comes_back_when_no_trial_is_good():
    task = Task()
    start = vector(task)
    optimizer = task.optimizer([-1.0], corrections=2, backtracks=3)
    optimizer._try = lambda problem, move, *rest: TrustRegion._try(optimizer, problem, 100.0 * move, *rest)
    optimizer.step(task)
    assert not optimizer.last.accepted
    assert optimizer.last.trials == 5
    assert torch.equal(vector(task), start)


def test_a_trial_that_is_not_finite_is_not_taken():
    task = Task()

    def closure():
        found = task()
        if task.calls == 2:
            return Surrogates(found.sums * float("nan"), found.count, found.curvature, found.curvature_count)
        return found

    optimizer = task.optimizer([-1.0])
    optimizer.step(closure)
    assert optimizer.last.accepted
    assert optimizer.last.trials > 1
    assert vector(task).isfinite().all()


def test_a_constraint_that_only_shows_after_the_first_trial_is_solved_at_the_old_policy(monkeypatch):
    """Its H^-1 b is asked for when the parameters have moved; the Fisher matrix must still be the old policy's."""
    costs = []
    free = Task()
    optimizer = free.optimizer([-10.0], damping=3.0)  # heavy damping: the first trial uses little of the region
    attempt = optimizer._try
    monkeypatch.setattr(optimizer, "_try", lambda *a: costs.append(attempt(*a).costs[0]) or attempt(*a))
    optimizer.step(free)
    gap = -(costs[0] + costs[-1]) / 2.0  # reached by the last trial only
    late = Task()
    optimizer = late.optimizer([gap], damping=3.0)
    optimizer.step(late)
    early = Task()
    learn = _Problem._learn
    monkeypatch.setattr(_Problem, "_learn", lambda self, rows, reward=False: learn(self, np.arange(1), reward))
    early.optimizer([gap], damping=3.0).step(early)
    assert optimizer.last.cost_changes[0] == pytest.approx(-gap, rel=0.1)
    torch.testing.assert_close(vector(late), vector(early), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("option", "value"),
    [("target_kl", 0.001), ("damping", 1.0), ("cg_iterations", 1), ("cg_tolerance", 0.9), ("corrections", 0)],
)
def test_every_option_changes_the_step(option, value):
    base, changed = Task(), Task()
    base.optimizer([-0.005]).step(base)
    changed.optimizer([-0.005], **{option: value}).step(changed)
    assert not torch.equal(vector(base), vector(changed))


def test_backtracking_shortens_the_first_step_by_shrink():
    lengths = {}
    for shrink in (0.8, 0.5):
        task = Task()
        start = vector(task)
        optimizer = task.optimizer([-1.0], corrections=0, backtracks=10, shrink=shrink)
        optimizer.step(task)
        lengths[shrink] = float((vector(task) - start).norm())
    assert lengths[0.5] / lengths[0.8] == pytest.approx(0.5 / 0.8, rel=1e-4)


def test_where_no_step_keeps_all_limits_the_costs_are_weighed_and_one_may_give_way():
    rises = 0
    for seed in range(8):
        task = Task(constraints=2)
        g = torch.Generator().manual_seed(seed)
        task.costs = task.costs @ torch.randn(2, 2, generator=g, dtype=torch.float64)
        task.costs[:, 1] -= 1.1 * task.costs[:, 0]  # nearly opposed
        optimizer = task.optimizer([0.5, 0.0])
        optimizer.step(task)
        told = optimizer.last
        assert told.case == "infeasible"
        assert told.kl_share >= 0.9
        assert np.dot(told.multipliers, told.cost_changes) < 0.0
        rises += max(told.cost_changes) > 0.0
    assert rises > 0


def in_a_process(rank, world, folder, constraints):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    bounds = [0, *sorted({7, 200, 450})[: world - 1], SAMPLES]  # unequal parts
    task = Task(slice(bounds[rank], bounds[rank + 1]), constraints)

    def reduce(tensor):
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    optimizer = task.optimizer([0.01, -0.02][:constraints], reduce=reduce)
    for _ in range(3):
        optimizer.step(task)
    torch.save(vector(task), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(("world", "constraints"), [(2, 1), (4, 2)])
def test_processes_with_unequal_parts_of_the_samples_take_the_step_of_one(world, constraints, tmp_path):
    mp.start_processes(in_a_process, (world, str(tmp_path), constraints), nprocs=world, start_method="fork")
    alone = Task(constraints=constraints)
    optimizer = alone.optimizer([0.01, -0.02][:constraints])
    for _ in range(3):
        optimizer.step(alone)
    for rank in range(world):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), vector(alone), rtol=1e-6, atol=1e-6)
