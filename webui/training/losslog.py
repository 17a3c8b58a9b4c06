"""A curve of a run as a CSV file: one line per so many steps, each step once however often the run is resumed."""

import csv
from collections.abc import Sequence
from pathlib import Path

from webui.errors import CannotSaveRun

FIRST = "step"


class CsvLog:
    """Lines under a heading; the first column is the step."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = (FIRST, *columns)

    def add(self, step: int, *values: object) -> None:
        """Append a line, after the heading when the file is new. Raises `CannotSaveRun`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            with self.path.open("a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(self.columns)
                writer.writerow([step, *values])
        except OSError as error:
            raise CannotSaveRun(str(self.path.parent), error.strerror or str(error)) from error

    def forget_after(self, step: int) -> None:
        """Drop the lines of later steps, which are made again; a line that was cut off goes too."""
        if not self.path.exists():
            return
        with self.path.open(newline="", errors="replace") as file:
            rows = [row for row in csv.DictReader(file) if (row.get(FIRST) or "").isdecimal()]
        whole = [row for row in rows if int(row[FIRST]) <= step and row.get(self.columns[1])]
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            csv.writer(file).writerows(
                [self.columns, *([row.get(name) or "" for name in self.columns] for row in whole)]
            )
        partial.replace(self.path)
