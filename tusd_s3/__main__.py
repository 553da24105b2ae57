"""`python -m tusd_s3`: the same as the `tusd-s3` command."""

from __future__ import annotations

import sys

from tusd_s3.cli import main

# Worker processes import this module again under another name, and must not start a server.
if __name__ == "__main__":
    sys.exit(main())
