"""Lightning plugins for runs that survive: atomic checkpoints, SLURM's environment, fault-tolerant loggers."""
