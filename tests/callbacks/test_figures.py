import matplotlib.image
import pytest
from lightning.pytorch import LightningDataModule
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import Figures

from .bench import Line, loader, make_trainer


def figure(size=2):
    drawn = Figure(figsize=(size, size))
    drawn.subplots().plot([0, 1], [1, 0])
    return drawn


class Drawing(Line):
    def __init__(self):
        super().__init__()
        self.drawn = []

    def figures(self):
        self.drawn.append(self.trainer.current_epoch)
        return {"module": figure()}


class Data(LightningDataModule):
    def train_dataloader(self):
        return loader()

    def val_dataloader(self):
        return loader(1)

    test_dataloader = val_dataloader

    def figures(self):
        return {"rollouts": figure(), "maps": figure(3)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_test_draws_module_and_datamodule(tmp_path):
    make_trainer(tmp_path, Figures()).test(Drawing(), Data(), verbose=False)
    assert names(tmp_path) == ["maps.png", "module.png", "rollouts.png"]
    assert matplotlib.image.imread(tmp_path / "maps.png").shape == (330, 330, 4)


def test_dpi_changes_the_size(tmp_path):
    make_trainer(tmp_path, Figures(dpi=50)).test(Drawing(), verbose=False)
    assert matplotlib.image.imread(tmp_path / "module.png").shape == (100, 100, 4)


@pytest.mark.parametrize(("every", "epochs"), [(None, []), (1, [0, 1, 2, 3, 4]), (2, [1, 3])])
def test_a_fit_draws_every_n_epochs(tmp_path, every, epochs):
    module = Drawing()
    make_trainer(tmp_path, Figures(every_n_epochs=every), max_epochs=5, num_sanity_val_steps=1).fit(module)
    assert module.drawn == epochs
    assert names(tmp_path) == (["module.png"] if epochs else [])


def test_a_validation_of_its_own_draws(tmp_path):
    make_trainer(tmp_path, Figures()).validate(Drawing(), verbose=False)
    assert names(tmp_path) == ["module.png"]


def test_who_has_no_figures_is_left_alone(tmp_path):
    make_trainer(tmp_path, Figures(1)).fit(Line())
    make_trainer(tmp_path, Figures()).test(Line(), verbose=False)
    assert names(tmp_path) == []


def test_a_fast_run_draws_nothing(tmp_path):
    make_trainer(tmp_path, Figures(), fast_dev_run=True).test(Drawing(), verbose=False)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="Figures cannot write"):
        make_trainer(tmp_path / "file" / "run", Figures()).test(Drawing(), verbose=False)


def test_loggers_get_the_pictures(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(WandbLogger, "log_image", lambda self, key, images, step: sent.append((key, images, step)))
    monkeypatch.setattr(WandbLogger, "log_metrics", lambda self, metrics, step: None)
    board = TensorBoardLogger(tmp_path, name="", version="run")
    loggers = [board, WandbLogger(save_dir=tmp_path, offline=True)]
    monkeypatch.setattr(WandbLogger, "experiment", None)
    make_trainer(tmp_path, Figures(), logger=loggers).test(Drawing(), verbose=False)
    board.experiment.flush()
    assert EventAccumulator(board.log_dir).Reload().Tags()["images"] == ["module"]
    ((key, (image,), step),) = sent
    assert (key, type(image), step) == ("module", Figure, 0)


@pytest.mark.timeout(60)
def test_two_processes_draw_once(tmp_path):
    trainer = make_trainer(tmp_path, Figures(), strategy="ddp_fork", devices=2, use_distributed_sampler=False)
    module = Drawing()
    module.test_step = lambda batch, batch_idx: None
    trainer.test(module, verbose=False)
    assert names(tmp_path) == ["module.png"]
