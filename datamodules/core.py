"""Data loading in a seeded order that survives a kill and any number of processes: the base of every datamodule."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from litmotif.errors import DataError as DataError
from litmotif.ranges import require_in_range

Draw = tuple[int, int]
"""An item of the data set, and a number that decides whatever is random about showing it this time."""

VARIANTS = 2**31


class Batches(Protocol):
    """A data set in memory that gathers whole batches."""

    def __len__(self) -> int:
        """Items."""

    def __getitems__(self, draws: Sequence[Draw]) -> Any:
        """One batch."""


def random_stream(*keys: int) -> np.random.Generator:
    """NumPy's generator, a function of ``keys`` only."""
    return np.random.default_rng((len(keys), *keys))


class Place:
    """A place in the training order, to begin at once: by whichever loader is read first.

    Attributes:
        epoch: its number.
        batches: of this epoch that are done.
    """

    def __init__(self, epoch: int = 0, batches: int = 0) -> None:
        self.epoch, self.batches = epoch, batches

    def take(self, epoch: int) -> int:
        """Batches to leave out of an epoch; from here on there are none."""
        skipped = self.batches if epoch == self.epoch else 0
        self.epoch, self.batches = 0, 0
        return skipped


class EpochSampler(DistributedSampler[Draw]):
    """The order of one split, a pure function of (seed, epoch).

    Row j of the k-th batch of rank r is row ``j * W + r`` of the k-th global batch, so that W processes see together
    what one process sees. Being a ``DistributedSampler`` keeps Lightning from wrapping it and has it call
    ``set_epoch``.

    Args:
        size: items of the split.
        batch_size: global batch, all processes together.
        seed: of the order.
        shuffle: training order (permutations, chained where an epoch needs several; only full global batches);
            otherwise each item once, in order.
        steps: batches an epoch when shuffling; None takes ``max(1, size // batch_size)``.
        num_replicas: processes W.
        rank: this process.

    Raises:
        DataError: the split is empty, or the batch does not divide among the processes.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        steps: int | None = None,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        if size < 1:
            raise DataError("The split is empty: ask for at least 1 item.")
        if batch_size % num_replicas:
            raise DataError(
                f"batch_size={batch_size} is the batch of all processes together and does not divide by "
                f"{num_replicas} processes. Choose a multiple of {num_replicas}."
            )
        super().__init__(range(size), num_replicas, rank, shuffle, seed)  # type: ignore[arg-type]
        self.size, self.batch_size = size, batch_size
        self.rows = (steps or max(1, size // batch_size)) * batch_size if shuffle else size
        self.place = Place()
        """Where to begin, once, after a resume."""

    def __len__(self) -> int:
        """Items of this rank in a whole epoch."""
        return len(range(self.rank, self.rows, self.num_replicas))

    def __iter__(self) -> Iterator[Draw]:
        """Items of this rank, each with its variant."""
        skip = self.place.take(self.epoch) * self.batch_size
        variants = random_stream(self.seed, self.epoch, 1).integers(VARIANTS, size=self.rows)
        order = self._order()
        for row in range(skip + self.rank, self.rows, self.num_replicas):
            yield int(order[row]), int(variants[row])

    def _order(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        if not self.shuffle:
            return np.arange(self.rows)
        stream = random_stream(self.seed, self.epoch, 0)
        chained = [stream.permutation(self.size) for _ in range(-(-self.rows // self.size))]
        return np.concatenate(chained)[: self.rows]


class _Gathered(Dataset[Any]):
    """Adapts ``Batches`` to ``DataLoader``, and plain indices (``overfit_batches``) to draws."""

    def __init__(self, batches: Batches, place: Place) -> None:
        self.batches, self.place = batches, place

    def __len__(self) -> int:
        return len(self.batches)

    def __getitems__(self, draws: Sequence[Draw | int]) -> Any:
        return self.batches.__getitems__([draw if isinstance(draw, tuple) else (draw, 0) for draw in draws])


def _as_gathered(batch: Any) -> Any:
    return batch


class TrainLoader(DataLoader[Any]):
    """A loader that can be resumed in the middle of an epoch: Lightning knows it by these two methods.

    The place itself travels in the state of the datamodule: Lightning gives a loader its state too late where a
    learning-rate schedule has asked for the number of batches before.
    """

    def __iter__(self) -> Any:
        """The batches, from the place on: ``overfit_batches`` has put a sampler of Lightning's in place of ours."""
        batches = super().__iter__()
        if not isinstance(self.sampler, EpochSampler) and isinstance(self.dataset, _Gathered):
            place = self.dataset.place
            for _ in range(place.take(place.epoch)):
                next(batches)
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Nothing of its own."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to take back."""


class BaseDataModule(LightningDataModule):
    """The thin base: batch size, seed, loaders whose position is saved with each checkpoint.

    Attributes:
        links: names of plain attributes that a module with parameters of these names is built with.
        of_env: names of parameters whose values in a config are for its ``env`` alone; the command gives another
            ``env`` their defaults.
        machine_bound: names of parameters that belong to the machine, and that no checkpoint decides: where files lie,
            how many processes work.

    Args:
        batch_size: global batch of one optimiser step, all processes together.
        eval_batch_size: the same in validation, test and prediction.
        steps_per_epoch: training batches an epoch; None goes once through the data.
        num_workers: loader processes; the data is in memory, so 0 is usually fastest. No result depends on it.
        seed: of the order and of all that is random about an item.
    """

    links: ClassVar[tuple[str, ...]] = ()
    of_env: ClassVar[tuple[str, ...]] = ()
    machine_bound: ClassVar[tuple[str, ...]] = ("root", "cache_dir", "num_workers", "generation_workers")

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        steps_per_epoch: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # the module's own are logged; both may have a horizon
        require_in_range(self.hparams, type(self))
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.steps_per_epoch, self.num_workers, self.seed = steps_per_epoch, num_workers, seed
        self._place = Place()

    def loader(self, batches: Batches, train: bool) -> DataLoader[Any]:
        """A loader over ``batches`` in the order of ``EpochSampler``."""
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        batch = self.batch_size if train else self.eval_batch_size - self.eval_batch_size % world or world
        steps = self.steps_per_epoch if train else None
        sampler = EpochSampler(len(batches), batch, self.seed, train, steps, world, rank)
        if train:
            sampler.place = self._place
            loop: Any = self.trainer.fit_loop if self.trainer else None
            epoch = self._place.epoch or (loop.epoch_progress.current.processed if loop else 0)
            sampler.set_epoch(epoch)  # Lightning does so after workers have begun to read ahead
        return (TrainLoader if train else DataLoader)(
            _Gathered(batches, self._place if train else Place()),
            batch_size=batch // world,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=_as_gathered,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )

    def state_dict(self) -> dict[str, Any]:
        """The place in the training order: batches of this epoch that are done, without a step that was cut off.

        An epoch that a limit has cut off goes on where it was.
        """
        if self.trainer is None or self.trainer.state.fn != "fit":
            return {}
        loop: Any = self.trainer.fit_loop
        epochs, progress = loop.epoch_progress.current, loop.epoch_loop.batch_progress
        done, ended = progress.current.processed, epochs.processed > epochs.completed
        if (progress.is_last_batch and done == progress.current.ready) or done >= self.trainer.num_training_batches:
            return {"epoch": epochs.processed + (not ended), "batches": 0}
        window = 1 if self.trainer.validating else self.trainer.accumulate_grad_batches
        return {"epoch": epochs.processed - ended, "batches": done - done % window}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin there, once."""
        self._place.epoch, self._place.batches = state_dict.get("epoch", 0), state_dict.get("batches", 0)


class SplitDataModule(BaseDataModule, ABC):
    """Data in splits: a subclass says what they hold, the loaders follow."""

    @abstractmethod
    def split(self, name: str) -> Batches:
        """The data of ``train``, ``val`` or ``test``."""

    def prepare_data(self) -> None:
        """Read or make everything, so that what is wrong with it is known before a module is built."""
        self.split("train")

    def train_dataloader(self) -> DataLoader[Any]:
        """The training split, shuffled."""
        return self.loader(self.split("train"), train=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split, in order."""
        return self.loader(self.split("val"), train=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split, in order."""
        return self.loader(self.split("test"), train=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        """The same as for testing."""
        return self.test_dataloader()
