"""``litmotif generate``: a trained model goes on with the beginning of a song; MIDI, piano roll and sound are kept."""

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.files import to_png, write_atomically

from ...core import checkpoint
from ...core.checkpoint import CheckpointError
from .. import configs, ending, run_folder
from .options import OptionsParser
from .runs import data_of, public_modules


def command(arguments: list[str]) -> int:
    """Carry out ``litmotif generate``.

    Args:
        arguments: what follows the command.

    Returns:
        The exit status: 0; 1 where nothing could be made; 2 for a wrong request.
    """
    parser = OptionsParser("generate", "Go on with the beginning of a test song: MIDI, piano roll (PNG) and sound.")
    parser.add_configs()
    parser.add_argument("--ckpt_path", type=str, default="best", help="best, last, a file or a run folder")
    parser.add_argument("--out", type=str | None, help="folder for the files; `made` in the run folder by default")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--bars", type=int, default=8, help="bars to make")
    parser.add_argument("--prompt_bars", type=int, default=2, help="bars that are given")
    parser.add_argument("--song", type=int | str, default=0, help="of the test split, by its place or its name")
    parser.add_argument("--number", type=int, default=1, help="how many continuations")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 takes each key that is likely enough")
    parser.add_argument("--polyphony", type=int | None, help="keys at once; by default 1 for a melody, else any number")
    parser.add_argument("--valence", type=float | None, help="wanted emotion, -1 to 1, where the model is told of it")
    parser.add_argument("--arousal", type=float | None, help="likewise")
    parser.add_argument("--soundfont", type=str | None, help=".sf2 or .sf3 for the sound; sine waves without")
    try:
        options = parser.parse_args(arguments)
        for name, least in (("bars", 1), ("prompt_bars", 1), ("number", 1), ("temperature", 0)):
            if options[name] < least:
                parser.error(f"--{name} {options[name]}: at least {least}.")
        root = Path("runs") / configs.experiment_name([str(configs.find(name)) for name in options.config])
    except configs.ConfigError as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return 2
    except SystemExit as leaving:
        return int(leaving.code or 0)
    try:
        for path in generate(options, root):
            print(path)
    except Exception as error:
        ending.report(error)
        return ending.FAILED
    return 0


def generate(options: Any, root: Path) -> list[Path]:
    """Make songs and write them.

    Args:
        options: of the command.
        root: where the runs of the config lie.

    Returns:
        The files.

    Raises:
        CheckpointError: the module makes no keys of frames.
        DataError: its data has no song to begin with.
    """
    from datamodules.core import DataError
    from datamodules.music.continuation import Continuation
    from datamodules.music.render import draw_roll, play, synthesise, write_midi, write_wav

    path = run_folder.find_checkpoint(options.ckpt_path, root, ("best", "last"))
    module: Any = checkpoint.load(path)
    if type(module).__name__ not in able():
        raise CheckpointError(f"{path} holds a {type(module).__name__}; {', '.join(able())} can generate music.")
    data: Any = data_of(path.parent.parent)
    names = data.songs_of("test")
    wanted = names[options.song] if isinstance(options.song, int) and options.song < len(names) else options.song
    song = next((song for song in data.library if song.name == wanted), None)
    if song is None or wanted not in names:
        raise DataError(f"--song {options.song}: the test split has {len(names)} songs: {', '.join(names[:5])}, ...")
    song = felt(song, options.valence, options.arousal)
    given = song.after(options.prompt_bars)
    going_on = Continuation(data.maker, song, given, song.after(options.prompt_bars + options.bars))
    made = module.generate(
        going_on.prompt.expand(options.number, -1, -1),
        going_on.frames,
        temperature=options.temperature,
        polyphony=options.polyphony or (1 if data.task == "melody" else None),
        encode=going_on.encode,
        seed=options.seed,
    )
    songs = [going_on.song_of(roll, name=f"{song.name}, {number}") for number, roll in enumerate(made.cpu().numpy())]
    home = Path(options.out) if options.out else path.parent.parent / "made"
    home.mkdir(parents=True, exist_ok=True)
    files = []
    for number, one in enumerate(songs):
        stem = home / f"{options.seed}_{number}"
        sound = play(one, Path(options.soundfont)) if options.soundfont else synthesise(one)
        write_midi(stem.with_suffix(".mid"), one)
        write_wav(stem.with_suffix(".wav"), sound)
        files += [stem.with_suffix(".mid"), stem.with_suffix(".wav")]
    picture = home / f"{options.seed}.png"
    write_atomically(picture, to_png(draw_roll([song, *songs], given, songs[0].length)))
    return [*files, picture]


def able() -> list[str]:
    """The public modules that can go on with a roll."""
    makers = {name: owner.generate for name, owner in public_modules().items() if hasattr(owner, "generate")}
    return [name for name, make in makers.items() if {"prompt", "encode"} <= set(inspect.signature(make).parameters)]


def felt(song: Any, valence: float | None, arousal: float | None) -> Any:
    """The song with a wanted emotion throughout; 0 for the one that is not given."""
    from dataclasses import replace

    if valence is None and arousal is None:
        return song
    return replace(song, emotion=np.array([[0.0, valence or 0.0, arousal or 0.0]]))
