"""A tiny experiment for the command: seconds, no download."""

import textwrap

CONFIG = """\
# litmotif fit -c tiny.yaml
# Plans in a 5 x 5 room
seed_everything: 0
model:
  class_path: MDLMDiT
  init_args:
    network: {hidden_size: 16, num_layers: 1, num_heads: 2}
    objective: {validation_levels: 2}
    optimizer: {lr: 0.05}
data:
  class_path: MiniGridPlans
  init_args:
    env: MiniGrid-Empty-5x5-v0
    env_kwargs: {agent_start_pos: null}
    train: 20
    val: 6
    test: 6
    batch_size: 4
trainer:
  accelerator: cpu
  max_epochs: 2
  num_sanity_val_steps: 0
  enable_progress_bar: false
  log_every_n_steps: 1
"""


def write(folder, name="tiny.yaml", text=CONFIG):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return str(path)
