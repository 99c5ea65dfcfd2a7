"""Readers: one file a format, each lowers what it reads to ``Recording``; ``read_folder`` knows them all."""

from .folder import Format as Format
from .folder import read_folder as read_folder
