"""``TARGET``: from ``fraud.py``, ``fraud.py:pipeline`` or ``shop.jobs:build('eu')`` to a ``Pipeline``.

Loads the program that defines it, and knows nothing of how it is run.
"""

from __future__ import annotations

import ast
import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from streamflow._runtime.run import left_to_command
from streamflow.pipeline import Pipeline


def load(target: str) -> Pipeline:
    """Return the pipeline that a target names.

    The program is loaded as a module: its ``if __name__ == "__main__"`` is not taken, and where it calls ``run()``
    nothing runs, since the command is about to.

    Args:
        target: ``path.py`` or ``pkg.mod``, and after a colon an attribute or a call of one with literal arguments.
            Without it: the only ``Pipeline`` at the top of the module.

    Raises:
        click.UsageError: If it names no pipeline.
        Exception: Whatever the program raises while it is loaded.
    """
    place, _, what = target.partition(":")
    with left_to_command():
        module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
        found = _named(module, what, target) if what else _only_one(module, place)
    if not isinstance(found, Pipeline):
        raise click.UsageError(f"{target} is {_kind(found)}, and a Pipeline is wanted")
    return found


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise click.UsageError(f"there is no file {path}")
    sys.path.insert(0, str(path.resolve().parent))
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_target"
    spec = spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    if not all(part.isidentifier() for part in name.split(".")):
        raise click.UsageError(f"expected a file that ends in .py or the name of a module, got {name!r}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a module that the program wants, and not the program
        raise click.UsageError(
            f"there is no module {name!r}; a file is named with its ending, as in {name}.py"
        ) from error


def _only_one(module: ModuleType, place: str) -> Pipeline:
    found = {id(value): name for name, value in vars(module).items() if isinstance(value, Pipeline)}
    if not found:
        raise click.UsageError(f"{place} has no Pipeline at its top; where a function makes it, say {place}:function()")
    if len(found) > 1:
        raise click.UsageError(
            f"{place} has several pipelines; say {' or '.join(f'{place}:{n}' for n in found.values())}"
        )
    pipeline: Pipeline = getattr(module, next(iter(found.values())))
    return pipeline


def _named(module: ModuleType, what: str, target: str) -> Any:
    """Return what ``name``, ``name.name`` or ``name('literal', key=1)`` is in a module."""
    try:
        expression = ast.parse(what, mode="eval").body
        if not isinstance(expression, ast.Call):
            return _attribute(module, expression, target)
        positional = [ast.literal_eval(argument) for argument in expression.args]
        named = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in expression.keywords}
    except (SyntaxError, ValueError) as error:
        raise click.UsageError(
            f"expected an attribute or a call with literal arguments behind the colon, got {what!r}"
        ) from error
    factory = _attribute(module, expression.func, target)
    if not callable(factory):
        raise click.UsageError(f"{target}: {ast.unparse(expression.func)} is {_kind(factory)} and cannot be called")
    return factory(*positional, **named)


def _attribute(value: Any, expression: ast.expr, target: str) -> Any:
    match expression:
        case ast.Name(name):
            owner = value
        case ast.Attribute(before, name):
            owner = _attribute(value, before, target)
        case _:
            raise ValueError("neither a name nor an attribute")
    if not hasattr(owner, name):
        raise click.UsageError(f"{target}: there is no {name!r} in {getattr(owner, '__name__', _kind(owner))}")
    return getattr(owner, name)


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
