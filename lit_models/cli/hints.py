"""Messages of the parser, in the words of a person."""


def explain(message: str, sources: list[str]) -> str:
    """Explain."""
    return message
