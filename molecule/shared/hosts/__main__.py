"""Run the test hosts: `python3 molecule/shared/hosts up sandbox` (see docs/test-hosts.md)."""

import sys

from testhosts.cli import main

if __name__ == "__main__":
    sys.exit(main())
