"""How messages word what they tell."""


def counted(count: int, what: str) -> str:
    """So many of ``what``, as ``1 file`` or ``1,200 files``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
