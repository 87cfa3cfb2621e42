"""Keeps functions and modules short: ``python -m tests.support.sizes``.

A function may have 60 lines without its docstring, a module 600; tables that are data may be
longer.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_FUNCTION_LINES = 60
MOST_MODULE_LINES = 600
# Tables, not code: generated dictionaries and the options of the configuration.
TABLES = {"_dictionary.py", "_storage_classes.py"}


def measure_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def find_faults(path: Path) -> Iterator[str]:
    """List what is too long in a module."""
    text = path.read_text(encoding="utf-8")
    length = text.count("\n")
    if length > MOST_MODULE_LINES:
        yield f"{path}: {length} lines; the most are {MOST_MODULE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = measure_function(node)
            if lines > MOST_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines"


def main() -> int:
    """Check the package; returns the exit status."""
    modules = sorted(Path("src").rglob("*.py"))
    faults = [f for path in modules if path.name not in TABLES for f in find_faults(path)]
    summary = f"{len(modules)} modules: functions and modules are short enough"
    sys.stdout.write("\n".join(faults or [summary]) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
