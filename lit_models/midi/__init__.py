"""Five small music models that run in real time, frame by frame."""
