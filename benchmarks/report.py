"""Reports of benchmarks: the command line, and tables with the versions that made them."""

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "skorch")
RESULTS = Path(__file__).parent / "results"


def command_line(doc, *, stored=False):
    """Return a parser with the options that all benchmarks have.

    Parameters
    ----------
    doc : str
        Docstring of the benchmark.
    stored : bool, default=False
        Whether its measurements are kept in a store.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--tiny", action="store_true", help="one small cell, as the tests run it")
    if stored:
        parser.add_argument("--workers", type=int, default=2)
        parser.add_argument("--fresh", action="store_true", help="discard what was measured")
    return parser


class Report:
    """Lines that are printed as they come and saved together at the end.

    Parameters
    ----------
    name : str
        Name of the file, without its suffix.
    title : str
        First line.
    folder : Path, default=RESULTS
        Where the file is saved.
    """

    def __init__(self, name, title, folder=RESULTS):
        self.path = Path(folder) / f"{name}.txt"
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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("\n".join(self.lines) + "\n")
