"""Pictures as the bytes of their files."""

import io

from matplotlib.figure import Figure


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """A picture as the bytes of its file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi)
    return picture.getvalue()
