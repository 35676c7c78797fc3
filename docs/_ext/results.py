"""Directive that shows the stored results of a benchmark as tables."""

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives


class Results(Directive):
    """Tables of a text file that a benchmark wrote; other lines become paragraphs.

    ``start-at`` and ``end-before`` choose lines by a part of them, as in ``literalinclude``. The
    title and the versions, the first two lines, are omitted.
    """

    required_arguments = 1
    option_spec = {"start-at": directives.unchanged, "end-before": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the tables and paragraphs of the file."""
        source = Path(self.state.document.current_source).parent
        path = (source / self.arguments[0]).resolve()
        self.state.document.settings.record_dependencies.add(str(path))
        lines = path.read_text(encoding="utf-8").splitlines()[2:]
        for option, first in (("start-at", True), ("end-before", False)):
            if text := self.options.get(option):
                index = next((i for i, line in enumerate(lines) if text in line), None)
                if index is None:
                    raise self.error(f"{option}: no line of {path.name} contains {text!r}.")
                lines = lines[index:] if first else lines[:index]
        blocks = re.split(r"\n{2,}", "\n".join(lines).strip("\n"))
        return [node for block in blocks for node in show_block(block.splitlines())]


def show_block(lines: list[str]) -> Iterator[nodes.Node]:
    """Yield the table of lines without a blank one between them, and the text beside it."""
    header = next((i for i in range(len(lines) - 1) if is_header(*lines[i : i + 2])), None)
    if header is None:
        yield nodes.paragraph(text=" ".join(lines))
        return
    # The first row too, since a name may be blank.
    starts = column_starts(*lines[header : header + 2])
    rows = [line for line in lines[header:] if fits(line, starts) and set(line) != set("- ")]
    yield table(" ".join(lines[:header]), [cells(line, starts) for line in rows])
    if rest := [line for line in lines[header:] if not fits(line, starts)]:
        yield nodes.paragraph(text=" ".join(rest))


def column_starts(*lines: str) -> list[int]:
    """Return the first character of each column: two blanks or more are before it in all lines."""
    found = {match.end() for line in lines for match in re.finditer(r"  +(?=\S)", line)}
    return [0, *sorted(s for s in found if s > 1 and all(fits(line, [0, s]) for line in lines))]


def is_header(line: str, following: str) -> bool:
    """Return whether a line names the columns of the following one."""
    return len(column_starts(line)) > 1 and fits(following, column_starts(line))


def fits(line: str, starts: list[int]) -> bool:
    """Return whether the columns of a line are separated by blanks."""
    return all(not line[start - 2 : start].strip() for start in starts[1:])


def cells(line: str, starts: list[int]) -> list[str]:
    """Return the entries of a line."""
    return [line[i:j].strip() for i, j in zip(starts, [*starts[1:], None], strict=True)]


def table(title: str, rows: list[list[str]]) -> nodes.table:
    """Return a table with its title and a row of names."""
    result = nodes.table(classes=["results"])
    if title:
        result += nodes.title(text=title)
    group = nodes.tgroup(cols=len(rows[0]))
    group += [nodes.colspec(colwidth=1) for _ in rows[0]]
    head, body = nodes.thead(), nodes.tbody()
    for i, row in enumerate(rows):
        line = nodes.row()
        line += [nodes.entry("", nodes.paragraph(text=cell)) for cell in row]
        (body if i else head).append(line)
    group += [head, body]
    result += group
    return result


def setup(app):
    """Add the directive to Sphinx."""
    app.add_directive("results", Results)
    return {"parallel_read_safe": True}
