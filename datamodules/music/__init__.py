"""Symbolic music: songs, the tasks that read them, and the datamodule."""
