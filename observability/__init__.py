"""Logs, metrics and traces: what operators see of a process. Ids and counts, never people."""

from __future__ import annotations

from observability.logs import log_to_stderr, logged_with

__all__ = ["log_to_stderr", "logged_with"]
