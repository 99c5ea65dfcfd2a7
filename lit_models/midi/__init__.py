"""Real-time music models: five small ones that run frame by frame."""
