"""Building blocks that more than one algorithm uses."""
