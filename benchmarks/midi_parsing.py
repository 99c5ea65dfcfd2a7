"""Reading a folder of songs: the first time, and from the cache.

    python benchmarks/midi_parsing.py FOLDER [--repeats 3]

Wall seconds, and CPU seconds of this process; the first time includes starting the processes that parse, the check of
what they found and writing the cache. FOLDER is anything that ``MusicFrames`` reads, such as the Groove MIDI Dataset.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from datamodules.music.parse import load_songs


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for _ in range(options.repeats):
        cache = tempfile.mkdtemp()
        for what in ("parsed", "cached"):
            wall, cpu = time.perf_counter(), time.process_time()
            songs = load_songs(options.folder, cache_dir=cache, progress=False).songs
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            notes = sum(len(song.onset) for song in songs)
            print(f"{what}: {len(songs):,} songs, {notes:,} notes, {wall:.2f} s ({cpu:.2f} CPU)")
        shutil.rmtree(cache)


if __name__ == "__main__":
    main()
