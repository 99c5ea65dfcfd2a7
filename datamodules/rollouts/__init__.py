"""On-policy experience from simulators, and whole episodes to evaluate with."""
