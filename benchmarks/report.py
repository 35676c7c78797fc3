"""Print a benchmark's table and keep it, with the versions that made it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "skorch")


class Report:
    """Lines that are printed as they come and saved together at the end.

    Parameters
    ----------
    name : str
        Name of the file in ``benchmarks/results``, without its suffix.
    title : str
        First line.
    """

    def __init__(self, name, title):
        self.path = Path(__file__).parent / "results" / f"{name}.txt"
        self.lines = []
        self.line(title)
        versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
        self.line(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores")

    def line(self, text=""):
        """Add a line."""
        print(text, flush=True)
        self.lines.append(text)

    def table(self, title, header, rows):
        """Add a table; floats get three digits."""
        cells = [header] + [
            [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
            for row in rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        self.line()
        self.line(title)
        for row in cells:
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.line("  ".join(padded).rstrip())

    def save(self):
        """Write everything to the file."""
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text("\n".join(self.lines) + "\n")
