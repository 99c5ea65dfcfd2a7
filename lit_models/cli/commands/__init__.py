"""Commands of our own, one file each: ``command(arguments)`` gives the exit status."""
