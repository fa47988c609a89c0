"""Measures Slipway against a plain shell script that does the same; `bench/run --help`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The test hosts' tool and the collection's own Python, from where they are.
sys.path[:0] = [str(ROOT / "molecule/shared/hosts"), str(ROOT / "collections")]
