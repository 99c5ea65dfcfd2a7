"""Judges of generated motion: features, distances in them, and the table of results."""
