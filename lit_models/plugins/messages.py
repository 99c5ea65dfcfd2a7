"""Filter of Lightning's messages: what it says of every run, and its advertising."""

import logging
import os
import warnings

QUIET = (
    r".*does not have many workers.*",  # the data is in memory
    r".*Experiment logs directory .* exists and is not empty.*",  # a resumed run: its metrics were put aside
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*is smaller than the logging interval.*",
    r".*The `srun` command is available on your system but is not used.*",
    r"Using ModelCheckpoint with manual optimization.*",  # a checkpoint after the step is what is wanted
    r"You requested to overfit but enabled .* dataloader shuffling.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # inside Lightning 2.6.6
    r"Precision bf16-mixed is not supported by the model summary.*",  # which counts parameters all the same
    r".*could not find the monitored key in the returned metrics.*",  # an epoch without validation
)
ADVERTISING = "💡 Tip"


def be_quiet() -> None:
    """Leave out what Lightning says of every run, and its advertising; undone by ``warnings.catch_warnings``."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_no_advertising)


def _no_advertising(record: logging.LogRecord) -> bool:
    return ADVERTISING not in record.getMessage()
