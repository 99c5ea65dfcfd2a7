"""Pictures of the mobile base show what they were given."""

import pytest
import torch
from matplotlib.patches import Circle

from datamodules.trajectories.mobile_base.policies import expert, zero
from datamodules.trajectories.mobile_base.tasks import rollout
from datamodules.trajectories.mobile_base.view import draw_paths, draw_plans


@pytest.mark.parametrize("task", ["joystick", "waypoint", "forest"])
def test_paths_have_a_panel_an_episode(task, tmp_path):
    rollouts = rollout(expert, task, episodes=5)
    figure = draw_paths(rollouts, "expert", count=3, columns=2)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 3
    x, y = max(panels[1].lines, key=lambda line: len(line.get_xdata())).get_data()
    assert torch.equal(torch.as_tensor(x), rollouts.paths[1, :, 0])
    assert torch.equal(torch.as_tensor(y), rollouts.paths[1, :, 1])
    radii = sorted(p.radius for p in panels[1].patches if isinstance(p, Circle) and p.get_fill())
    assert radii == pytest.approx(rollouts.scene.pillars[1, :, 2].sort()[0].tolist())
    assert "solved after" in panels[0].get_title()
    figure.savefig(tmp_path / "paths.png")


def test_a_failed_episode_says_so():
    figure = draw_paths(rollout(zero, "forest", episodes=1), "zero")
    assert figure.axes[0].get_title().startswith("not solved after 30.0 s")


def test_a_fan_starts_at_the_base_and_leaves_out_what_is_no_pillar(tmp_path):
    fan, pose = torch.randn(6, 16, 2), torch.tensor([1.0, 2.0, 0.5])
    pillars = torch.tensor([[3.0, 1.0, 0.2], [0.0, 1004.0, 1000.0], [1e4, 1e4, 0.0]])
    figure = draw_plans(
        {"unguided": fan, "guided": fan + 1}, pose, torch.zeros(5, 2), pillars, torch.ones(2), torch.ones(2), "plans"
    )
    axes = figure.axes[0]
    ways = [line for line in axes.lines if len(line.get_xdata()) == 17]
    assert len(ways) == 12
    assert all(way.get_xdata()[0] == 1.0 and way.get_ydata()[0] == 2.0 for way in ways)
    assert sum(isinstance(p, Circle) and p.get_fill() for p in axes.patches) == 1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["unguided", "guided", "past"]
    figure.savefig(tmp_path / "fan.png")
    with pytest.raises(ValueError, match=r"plans\['guided'\] \(6, 2\)"):
        draw_plans({"guided": fan[:, 0]}, pose)
