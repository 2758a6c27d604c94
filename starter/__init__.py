"""Use cases and the command line. Services write `from starter import Carillon`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starter.messages import Carillon

__all__ = ["Carillon"]


def __getattr__(name: str) -> Any:
    """Carillon, imported when it is asked for: `carillon --help` imports this package."""
    if name == "Carillon":
        from starter.messages import Carillon

        return Carillon
    raise AttributeError(f"module 'starter' has no attribute {name!r}")
