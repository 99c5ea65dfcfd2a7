"""Readers: one file a format, each lowers what it reads to ``Song``; ``read`` knows them all."""

from .base import Reader as Reader
from .base import Source as Source
from .folder import Format as Format
from .folder import read as read
