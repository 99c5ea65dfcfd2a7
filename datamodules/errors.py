"""What the datamodules raise; apart from ``core``, so that a process that only reads files needs no PyTorch."""


class DataError(ValueError):
    """Data that cannot be had as asked for; the message names the option and the remedy."""
