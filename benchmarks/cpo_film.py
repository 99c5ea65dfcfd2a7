"""A GIF of one episode of a trained policy.

python benchmarks/cpo_film.py runs/cpo/wheelchair/version_0 docs/wheelchair.gif --config wheelchair --episode 3
"""

import argparse
from pathlib import Path

import torch
import yaml
from PIL import Image

import datamodules
import lit_models
from lit_models.cli import configs


def main() -> None:
    """Play and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", default="wheelchair")
    parser.add_argument("--episode", type=int, default=0)
    parser.add_argument("--every", type=int, default=4, help="steps from one frame to the next")
    parser.add_argument("--width", type=int, default=560)
    args = parser.parse_args()
    module = lit_models.load(args.run)
    options = yaml.safe_load(configs.find(f"cpo/{args.config}").read_text())["data"]["init_args"]
    data = datamodules.Rollouts(**options | {"test": 1, "eval_envs": 1, "num_envs": 1, "seed": args.episode})
    (batch,) = data.test_dataloader()
    episodes = batch.evaluate(lambda observation, step: module.act(observation))
    frames = [Image.fromarray(frame) for frame in data.film.frames()[:: args.every]]
    height = round(frames[0].height * args.width / frames[0].width)
    small = [frame.resize((args.width, height), Image.Resampling.LANCZOS).quantize(48) for frame in frames]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    small[0].save(args.out, save_all=True, append_images=small[1:], duration=50 * args.every, loop=0, optimize=True)
    costs = {name: round(float(x), 2) for name, x in zip(data.cost_names, episodes.costs[0], strict=True)}
    print(f"{args.out}: {len(small)} frames, return {float(episodes.returns):.1f}, costs {costs}, {torch.__version__}")


if __name__ == "__main__":
    main()
