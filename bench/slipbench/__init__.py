"""Measures Slipway against a plain shell script that does the same; `bench/run --help`."""
