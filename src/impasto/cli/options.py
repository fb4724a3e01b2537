"""Command line options derived from the fields of `StyleJob`: names, help, units and defaults are typed only there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from impasto.errors import JobError
from impasto.job import StyleJob, flag_of

# Arguments rather than options.
ARGUMENTS = ("photo", "styles")


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command with one option a field of the job; those not given are None."""
    decorated: Callable[..., Any] = options_of(StyleJob, ARGUMENTS)(function)
    return decorated


def options_of(model: type[BaseModel], leave_out: Collection[str] = ()) -> Callable[[Any], Any]:
    """A decorator that gives a click command one option a field of a model; those not given are None."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, field in reversed(model.model_fields.items()):
            if name not in leave_out:
                function = option_of(name, field)(function)
        return function

    return decorate


def option_of(name: str, field: FieldInfo) -> Callable[[Any], Any]:
    flag = flag_of(name)
    text = f"{field.description} {default_text(field)}".strip()
    if field.annotation is bool:
        return click.option(flag, name, is_flag=True, default=None, help=text)
    if get_origin(field.annotation) is tuple:
        several: Callable[..., Any] = lambda _context, _parameter, values: list(values) or None  # noqa: E731
        return click.option(flag, name, metavar=metavar_of(field), multiple=True, callback=several, help=text)
    return click.option(flag, name, metavar=metavar_of(field), default=None, help=text)


def metavar_of(field: FieldInfo) -> str:
    """The unit, or the choices, or the type of a field's values."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "unit" in extra:
        return str(extra["unit"])
    kinds = [field.annotation, *get_args(field.annotation)]
    for kind in kinds:
        if get_origin(kind) is Literal:
            return "|".join(str(choice) for choice in get_args(kind))
    return "N" if int in kinds else "X" if float in kinds else "NAME"


def default_text(field: FieldInfo) -> str:
    """The default where it is a value; where it is decided later, the description tells."""
    default = field.default
    if field.is_required() or default is None or default is False or default == ():
        return ""
    return f"[default: {','.join(map(str, default)) if isinstance(default, dict | tuple) else default}]"


def job_of(given: dict[str, Any], base: dict[str, Any]) -> StyleJob:
    """The job of the options given, over those of a saved job; errors name the option as it is typed."""
    fields = base | {name: value for name, value in given.items() if value is not None}
    try:
        return StyleJob.of(fields)
    except JobError as error:
        raise JobError(as_typed(str(error))) from None


def as_typed(message: str) -> str:
    """Field names at the beginning and within a message as options: `time_budget ...` as `--time-budget ...`."""
    words = message.split(" ")
    for position, word in enumerate(words):
        name = word.split(".")[0]
        if name in StyleJob.model_fields and name not in ARGUMENTS and (position == 0 or "_" in name):
            words[position] = word.replace(name, flag_of(name), 1)
    return " ".join(words)
