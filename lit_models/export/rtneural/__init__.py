"""RTNeural export to its dynamic JSON: writer, validator, reference interpreter, exports that prove themselves."""

from .errors import ExportError, FormatError, ParityError, UnsupportedLayerError
from .folder import Report, export
from .golden import TOLERANCE, Golden, compare
from .interpret import Interpreter
from .sidecar import verify
from .validate import read, validate
from .writer import count_parameters, to_rtneural, write

__all__ = [
    "TOLERANCE",
    "ExportError",
    "FormatError",
    "Golden",
    "Interpreter",
    "ParityError",
    "Report",
    "UnsupportedLayerError",
    "compare",
    "count_parameters",
    "export",
    "read",
    "to_rtneural",
    "validate",
    "verify",
    "write",
]
