"""One episode of a simulator as C: its tensor operations recorded once, each number by itself, and compiled."""
