"""Music as files: songs, the tasks that read them, and the datamodule."""
