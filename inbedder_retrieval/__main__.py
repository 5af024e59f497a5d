"""`python -m inbedder_retrieval` is the command `inbedder`."""

import sys

from inbedder_retrieval.cli import main

sys.exit(main())
