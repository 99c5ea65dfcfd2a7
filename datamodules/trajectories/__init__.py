"""Trajectories of states and actions: robot motion from files, kinematics, frames, windows and pictures of it."""
