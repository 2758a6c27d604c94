"""What the development stack says when it cannot go on."""

from __future__ import annotations


class StackError(Exception):
    """A part of the stack cannot start or run; the message is a sentence for the person at the terminal."""
