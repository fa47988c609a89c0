"""Visitors on a fixed schedule, who remember what became of each request; see ``python3 -m load --help``."""

from load.control import Load, LoadError
from load.record import Record, Summary, read_records, summarize
from load.schedule import Kind, Schedule, Target

__all__ = ["Kind", "Load", "LoadError", "Record", "Schedule", "Summary", "Target", "read_records", "summarize"]
