"""Robots: kinematic trees, rotations, recordings of root and joints, and the files they come in."""
