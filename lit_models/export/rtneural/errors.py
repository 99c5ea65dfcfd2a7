"""Errors of modules that cannot be written, and of files that cannot be read."""

from litmotif.errors import LitmotifError


class ExportError(LitmotifError, ValueError):
    """A module that cannot be written; no file is left."""


class UnsupportedLayerError(ExportError):
    """A layer, or an option of one, that the format cannot express; the message names it and the remedy."""


class ParityError(ExportError):
    """The written file does not compute what the module computes."""


class FormatError(LitmotifError, ValueError):
    """A file, or a layer in it, that RTNeural would not read as it is meant; the message names the place."""


class NotJSONError(FormatError):
    """No JSON, or no object at its root."""


class MissingKeyError(FormatError):
    """A key that the loader asks for is not there."""


class ValueRangeError(FormatError):
    """A key holds something else than the loader can use."""


class UnknownLayerError(FormatError):
    """A layer type that the loader does not know: it would silently leave the layer out."""


class UnknownActivationError(FormatError):
    """An activation that the loader does not know: it would crash."""


class RaggedWeightsError(FormatError):
    """Weights that are no rectangular array of numbers with the right number of axes."""


class NonFiniteWeightsError(FormatError):
    """NaN, an infinity, or a number beyond float32."""


class DeclaredShapeError(FormatError):
    """The declared output size is not that of the weights."""


class ChainError(FormatError):
    """A layer takes another size than the one before it gives."""


class TransposedWeightsError(FormatError):
    """A matrix [out][in] where the format has [in][out]."""


class MissingBiasError(FormatError):
    """A layer whose bias the loader asks for has none."""


class KernelError(FormatError):
    """Kernel size, dilation or groups do not fit the kernel."""


class GateSizeError(FormatError):
    """Recurrent weights without 4 (LSTM) or 3 (GRU) gates of the declared size."""


class OtherModelError(FormatError):
    """The file of another model than the one that its sidecar describes."""


class GoldenFramesError(FormatError):
    """The file does not give the golden output frames: right shapes, wrong numbers."""
