"""Readers: one file a format, each lowers what it reads to ``Clip``; ``read_folder`` knows them all."""

from .folder import Format as Format
from .folder import read_folder as read_folder
