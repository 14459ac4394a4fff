"""Numbers as people read them."""

from __future__ import annotations


def count(value: float) -> str:
    """Return a number of things, in whole ones.

    >>> count(60_144)
    '60,144'
    """
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    """Return a length of time in seconds with as many digits as matter, or in its larger units.

    >>> seconds(0.0031), seconds(1.25), seconds(75), seconds(90_000)
    ('3.1 ms', '1.2 s', '1 min 15 s', '1 d 1 h')
    """
    if value < 0:
        return f"-{seconds(-value)}"
    if value < 0.9995:
        return f"{value * 1000:.1f} ms" if value < 0.01 else f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    for size, name, smaller, its_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {its_name}" if rest else f"{whole // size} {name}"
    raise AssertionError("a minute or more has a unit above")


def plural(number: int, word: str) -> str:
    """Return a number of things by their name.

    >>> plural(1, "step"), plural(2, "step")
    ('1 step', '2 steps')
    """
    return f"{count(number)} {word}{'' if number == 1 else 's'}"
