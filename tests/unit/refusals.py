"""What is refused, by its code."""

from collections.abc import Callable
from typing import Any

import pytest

from cluster.errors import StorageError


def code_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The code of the StorageError that a call raises."""
    with pytest.raises(StorageError) as refused:
        call(*arguments, **named)
    return refused.value.code
