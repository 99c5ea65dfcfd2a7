"""Progress of Lightning's loops that has no public name, and without which a resumed run would file records elsewhere.

The only file that may know it. ``tests/core/test_lightning_internals.py`` fails by name where a new Lightning has
changed it; ``tests/test_house.py`` fails where another file relies on the like.
"""

from typing import Any

from lightning.pytorch import Trainer

LOOP, VALIDATION = "epoch_loop.state_dict", "epoch_loop.val_loop.batch_progress"
BATCHES = "epoch_loop.batch_progress"
"""Where a checkpoint's ``["loops"]["fit_loop"]`` keeps what follows."""
STEPPED = "_batches_that_stepped"
"""Batches that stepped an optimiser: the horizontal axis of every logger."""


def record_step(trainer: Trainer) -> int:
    """The step under which Lightning files what the batch in progress logs."""
    return int(getattr(trainer.fit_loop.epoch_loop, STEPPED))


def steps_now(trainer: Trainer) -> bool:
    """Whether the batch in progress steps an optimiser, or gradients are accumulated."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    ready = progress.current.ready
    last = progress.is_last_batch or ready == trainer.num_training_batches
    return bool(last or ready % trainer.accumulate_grad_batches == 0)


def mend_progress(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Have a step or a validation that is cut off begin anew in the run that goes on, and an epoch go on.

    Lightning would count the batch as one that stepped, and forget gradients that were half accumulated, what of the
    validation was before, or all of it, and the rest of an epoch that a limit has ended: ``max_steps``, ``max_time``, a
    stop.

    Args:
        trainer: in a fit.
        checkpoint: about to be written; changed in place.
    """
    loops: dict[str, Any] = checkpoint["loops"]["fit_loop"]
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    epochs: Any = trainer.fit_loop.epoch_progress.current
    cut_off = progress.total.processed < progress.total.ready
    ended = epochs.processed > epochs.completed and not epoch_is_whole(trainer)
    if ended:
        for counts in loops["epoch_progress"].values():
            counts["processed"] -= 1
    if back := steps_owed(trainer):
        for name in ("total", "current"):
            kept = loops[BATCHES][name]["processed"] - back
            loops[BATCHES][name] = {"ready": kept + 1, "started": kept + 1, "processed": kept, "completed": kept}
    elif ended:  # as after a batch: what followed it is done
        for name in ("total", "current"):
            loops[BATCHES][name]["completed"] -= 1
    if not back and (ended or (cut_off and steps_now(trainer))):
        loops[LOOP][STEPPED] -= 1  # Lightning will add one
    if trainer.interrupted and trainer.validating:
        _begin_anew(loops[VALIDATION])


def epoch_is_whole(trainer: Trainer) -> bool:
    """Whether the batch that was the latest one is the last of its epoch."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    done: int = progress.current.processed
    return (progress.is_last_batch and done == progress.current.ready) or done >= trainer.num_training_batches


def steps_owed(trainer: Trainer) -> int:
    """Batches whose gradients are accumulated but have not stepped yet."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    if trainer.validating or epoch_is_whole(trainer):
        return 0
    return int(progress.current.processed % trainer.accumulate_grad_batches)


def _begin_anew(progress: dict[str, Any]) -> None:
    """Leave a validation at its beginning, in the state of which Lightning says that one was cut off."""
    done = progress["total"]["completed"] - progress["current"]["completed"]
    for name, count in (("total", done), ("current", 0)):
        progress[name] = {"ready": count + 1, "started": count + 1, "processed": count, "completed": count}


def begin_validation(trainer: Trainer) -> None:
    """Forget one that was cut off, which would count as ready ever after."""
    progress: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    progress.total.reset_on_restart()
