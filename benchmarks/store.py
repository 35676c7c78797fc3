"""Store of measurements: a CSV file with one row per cell, filled cell by cell."""

import os

import pandas as pd
from joblib import Parallel, delayed


class Store:
    """Measurements in a CSV file; a further run adds the cells that are missing.

    Parameters
    ----------
    path : Path
        The CSV file.
    fields : sequence of str
        Names of its columns.
    n_keys : int
        Number of leading columns that identify a cell.
    text : sequence of str, default=()
        Columns of lists of numbers, separated by blanks, that are not parsed.
    """

    def __init__(self, path, fields, n_keys, text=()):
        self.path = path
        self.fields = list(fields)
        self.key = self.fields[:n_keys]
        self.text = dict.fromkeys(text, str)

    def load(self):
        """Return the measurements, one row per cell."""
        if not self.path.exists():
            return pd.DataFrame(columns=self.fields)
        return pd.read_csv(self.path, dtype=self.text)

    def missing(self, cells):
        """Return the cells that are not stored, or whose measurement failed."""
        rows = self.load()
        done = rows[rows["error"].isna()] if "error" in rows else rows
        stored = set(done[self.key].itertuples(index=False, name=None))
        return [cell for cell in cells if tuple(cell) not in stored]

    def add(self, rows):
        """Print rows, dicts of the fields, and store them in place of those of the same cells."""
        for row in rows:
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        new = pd.DataFrame(rows, columns=self.fields)
        floats = new.select_dtypes("float").columns.difference(self.key)
        new[floats] = new[floats].map(lambda value: float(f"{value:.5g}"))
        # Loaded again, since another run may have stored cells in the meantime; the file is
        # replaced as a whole, so that a run that is killed leaves a complete one.
        stored = self.load().to_dict("records") + new.to_dict("records")
        table = pd.DataFrame(stored, columns=self.fields)
        table = table.drop_duplicates(self.key, keep="last").sort_values(self.key)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(f".{os.getpid()}")
        table.to_csv(scratch, index=False)
        scratch.replace(self.path)

    def fill(self, measure, cells, workers=1):
        """Call ``measure(*cell)``, which returns a row, for all missing cells; return all rows."""
        jobs = (delayed(measure)(*cell) for cell in self.missing(cells))
        for row in Parallel(workers, return_as="generator_unordered")(jobs):
            self.add([row])
        return self.load()
