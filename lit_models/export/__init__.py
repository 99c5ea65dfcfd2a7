"""Model export: files for other runtimes, each proven on frames before it is left."""
