"""Settings of all tests."""

import os

# Read when matplotlib is first imported: figures are drawn without a window.
os.environ["MPLBACKEND"] = "Agg"
