"""Signatures: the names of all that a constructor takes, by itself or by what it hands on to its bases."""

import inspect


def parameters(owner: type) -> list[str]:
    """Names of the arguments of ``owner(...)``, its own first."""
    names: list[str] = []
    for base in owner.__mro__:
        if "__init__" in vars(base):
            found = inspect.signature(vars(base)["__init__"]).parameters.values()
            names += [p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            if not any(p.kind is p.VAR_KEYWORD for p in found):
                break
    return [name for name in dict.fromkeys(names) if name != "self"]
