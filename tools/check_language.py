"""Checks of docstrings and pages that a dictionary of single words cannot make."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ("skspecialist", "tests", "benchmarks", "examples", "tools")
PAGES = ("*.md", "docs/*.rst", "docs/user_guide/*.rst", "examples/*.rst")

QUESTION = re.compile(r"(What|How|Where|Which|Whether|Who|When)\b")
PHRASES = {
    r"told|tells?|says?|speaks?|knows": "methods are given, return, report, ...",
    r"what (?:is|it|they|of|each|a|the|comes?|was|were|has)": "a noun",
    r"by heart": "memorize, overfit",
    r"to be had": "available",
    r"(?<!there )is no (?!longer)\w+": "is not a ...",
    r"a (?:class|column|fold|row|sequence|step|task) each": "one per ...",
    r"anew": "again",
    r"whoever|nobody|somebody": "the passive voice",
}


def docstrings(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield the line and the text of each docstring, and whether it is that of the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (text := ast.get_docstring(node, clean=False)) is not None:
            yield node.body[0].lineno, text, isinstance(node, ast.Module)


def texts(path: Path) -> Iterator[tuple[int, str, bool]]:
    if path.suffix == ".py":
        yield from docstrings(path)
    else:
        yield 1, path.read_text(encoding="utf-8"), False


def faults(path: Path) -> Iterator[str]:
    """Yield the faults of a file, each with its line."""
    has_docstring = path.suffix != ".py" or not path.read_text(encoding="utf-8").strip()
    for first_line, text, of_module in texts(path):
        has_docstring |= of_module
        if of_module and QUESTION.match(text.strip()):
            yield f"{first_line}: a module docstring is a noun phrase: {text.split()[0]} ..."
        for phrase, advice in PHRASES.items():
            for match in re.finditer(rf"\b(?:{phrase})\b", text, flags=re.IGNORECASE):
                line = first_line + text.count("\n", 0, match.start())
                yield f"{line}: {' '.join(match.group().split())!r} ==> {advice}"
    if not has_docstring:
        yield "1: the module has no docstring"


def main() -> int:
    files = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]
    files += [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    found = [f"{path.relative_to(ROOT)}:{fault}" for path in files for fault in faults(path)]
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
