"""Lightning plugins: atomic checkpoints, SLURM's environment, fault-tolerant loggers, quieter messages."""
