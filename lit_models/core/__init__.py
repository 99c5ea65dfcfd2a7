"""What every module shares: the base module, optimisers and schedules, checkpoints."""
