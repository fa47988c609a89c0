"""Grades that strangers' tools give a deployed site, each held against its bar; `tools/grade --help`."""
