"""What a decoded value must keep to beyond what msgspec checks, so that every layout and every checkpoint can hold it.

* An ``int`` has 64 bits: a column holds no more, and neither does msgpack, in which checkpoints are written.  A larger
  one would pass the decoder and bring the pipeline down at its next checkpoint.
* A ``datetime`` has a time zone, since a column of times cannot hold some with and some without, and lies in the years
  1 to 9999 of UTC.  A field that means local time says so: ``Annotated[datetime, Meta(tz=False)]``.

Both are rare in data and dear to look for in every value, so ``Checks.is_clean`` looks at a whole batch first: for a
run of 19 digits in its bytes, for a time that is not in UTC in its top-level fields.  Only where that finds something
is every row looked at.  Knows types and values; knows no columns and no format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, final

import msgspec.inspect as mi
import numpy as np

from streamflow.core.timestamp import EARLIEST, LATEST, MICROSECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Flaw = tuple[str, str]
"""What is wrong, and where under the value: ``("expected …", ".home.at")``."""
Check = Callable[[Any], Flaw | None]

Recorded = mi.StructType | mi.DataclassType | mi.TypedDictType | mi.NamedTupleType
_RECORDED = (mi.StructType, mi.DataclassType, mi.TypedDictType, mi.NamedTupleType)
_ITEMS = (mi.ListType, mi.SetType, mi.FrozenSetType, mi.VarTupleType)


@final
class Checks:
    """The checks of one record type, compiled.

    Args:
        info: What msgspec says of the type.
    """

    def __init__(self, info: mi.Type) -> None:
        self._check = _Compiler().compile(info)
        leaves = list(_leaves(info, set()))
        self._has_ints = any(isinstance(leaf, mi.IntType | mi.AnyType) for leaf in leaves)
        fields = {f.name: f.type for f in info.fields} if isinstance(info, mi.StructType | mi.DataclassType) else {}
        self._times = [name for name, kind in fields.items() if _is_time(kind)]
        again = any(isinstance(leaf, _RECORDED) for leaf in leaves)
        self._has_inner_times = again or sum(map(_is_time, leaves)) > len(self._times)

    def flaw(self, value: Any) -> str | None:
        """Return what is wrong with one value and where, or None."""
        found = self._check(value) if self._check is not None else None
        return None if found is None else f"{found[0]} - at `${found[1]}`"

    def is_clean(self, raw: bytes, values: Sequence[Any]) -> bool:
        """Return whether none of the values that these bytes were decoded to has a flaw; 20 to 70 ns a row."""
        suspect = self._has_inner_times or (self._has_ints and has_long_number(raw))
        if not suspect and all(_are_utc(values, name) for name in self._times):
            return True
        return self._check is None or not any(map(self._check, values))


def has_long_number(raw: bytes) -> bool:
    """Return whether there may be 19 digits in a row somewhere: the fewest that an ``int`` above 64 bits has.

    Such a run covers four aligned words of four bytes.  Some bytes that are no digits count as digits (``:`` to ``?``),
    and so may 16 digits between two of them: what this finds is looked at again, what it does not find is not there.
    """
    words = np.frombuffer(raw, dtype=np.uint32, count=len(raw) // 4)
    digits = (words & np.uint32(0xF0F0F0F0)) == np.uint32(0x30303030)
    pairs = digits[1:] & digits[:-1]
    return bool((pairs[2:] & pairs[:-2]).any())


def _are_utc(values: Sequence[Any], name: str) -> bool:
    times = [getattr(value, name) for value in values]
    zones = [UTC if time is None else time.tzinfo for time in times]
    return zones.count(UTC) == len(zones)


def _is_time(info: mi.Type) -> bool:
    match info:
        case mi.DateTimeType():
            return info.tz is None
        case mi.UnionType():
            return any(isinstance(t, mi.DateTimeType) and t.tz is None for t in info.types)
    return False


def _leaves(info: mi.Type, seen: set[type]) -> Iterator[mi.Type]:
    """Yield the scalar types in a type, each as often as it stands there, and a record that stands there again."""
    if isinstance(info, _RECORDED):
        if info.cls in seen:
            yield info
            return
        seen.add(info.cls)
    children = _children(info)
    if not children or _is_time(info):
        yield info
    for child in children:
        if not (_is_time(info) and _is_time(child)):
            yield from _leaves(child, seen)


def _children(info: mi.Type) -> tuple[mi.Type, ...]:
    match info:
        case mi.Metadata():
            return (info.type,)
        case mi.TupleType():
            return info.item_types
        case mi.DictType():
            return info.key_type, info.value_type
        case mi.UnionType():
            return info.types
        case _ if isinstance(info, _ITEMS):
            return (info.item_type,)
        case _ if isinstance(info, _RECORDED):
            return tuple(f.type for f in info.fields)
    return ()


@final
class _Compiler:
    """Turns a type into the check of its values; None where they need none."""

    def __init__(self) -> None:
        self._known: dict[type, Check | None] = {}

    def compile(self, info: mi.Type) -> Check | None:
        match info:
            case mi.IntType():
                return _fits_64_bits
            case mi.DateTimeType():
                return _is_instant if info.tz is None else None
            case mi.AnyType():
                return _anything_fits
            case mi.Metadata():
                return self.compile(info.type)
            case mi.TupleType():
                return _fields_check([(i, f"[{i}]", self.compile(t)) for i, t in enumerate(info.item_types)], _item)
            case mi.DictType():
                return _dict_check(self.compile(info.key_type), self.compile(info.value_type))
            case mi.UnionType():
                return _union_check({_python_type(t): self.compile(t) for t in info.types})
            case _ if isinstance(info, _ITEMS):
                return _items_check(self.compile(info.item_type))
            case _ if isinstance(info, _RECORDED):
                return self._record(info)
        return None

    def _record(self, info: Recorded) -> Check | None:
        if info.cls in self._known:  # a type that holds itself: look its check up when there is a value
            return lambda value: check(value) if (check := self._known[info.cls]) is not None else None
        self._known[info.cls] = None
        get = _entry if isinstance(info, mi.TypedDictType) else getattr
        fields = [(f.name, f".{f.encode_name}", self.compile(f.type)) for f in info.fields]
        self._known[info.cls] = check = _fields_check(fields, get)
        return check


def _fits_64_bits(value: Any) -> Flaw | None:
    if -(1 << 63) <= value < 1 << 63:
        return None
    return f"expected an `int` of 64 bits, got one of {value.bit_length()} bits", ""


def _is_instant(value: Any) -> Flaw | None:
    if value.tzinfo is None:
        return f"expected a `datetime` with a time zone, got `{value.isoformat()}`", ""
    if 1 < value.year < 9999 or EARLIEST <= (value - _EPOCH) // MICROSECOND <= LATEST:
        return None
    return f"expected a `datetime` in the years 1 to 9999 of UTC, got `{value.isoformat()}`", ""


def _anything_fits(value: Any) -> Flaw | None:
    """Check a value of no declared type; a loop, so that how deep it may be does not depend on who calls."""
    waiting = [(value, "")]
    while waiting:
        item, where = waiting.pop()
        if isinstance(item, dict):
            waiting += [(inner, f"{where}.{key}") for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(inner, f"{where}[{i}]") for i, inner in enumerate(item)]
        elif isinstance(item, int) and (flaw := _fits_64_bits(item)):
            return flaw[0], where
    return None


def _entry(value: Any, name: Any) -> Any:
    return value.get(name)


def _item(value: Any, index: Any) -> Any:
    return value[index]


def _fields_check(fields: list[tuple[Any, str, Check | None]], get: Callable[[Any, Any], Any]) -> Check | None:
    needed = [(name, where, check) for name, where, check in fields if check is not None]
    if not needed:
        return None

    def check_fields(value: Any) -> Flaw | None:
        for name, where, check in needed:
            inner = get(value, name)
            if inner is not None and (flaw := check(inner)):
                return flaw[0], where + flaw[1]
        return None

    return check_fields


def _items_check(check: Check | None) -> Check | None:
    if check is None:
        return None

    def check_items(value: Any) -> Flaw | None:
        for i, inner in enumerate(value):
            if flaw := check(inner):
                return flaw[0], f"[{i}]{flaw[1]}"
        return None

    return check_items


def _dict_check(keys: Check | None, values: Check | None) -> Check | None:
    if keys is None and values is None:
        return None

    def check_dict(value: Any) -> Flaw | None:
        for key, inner in value.items():
            if keys is not None and (flaw := keys(key)):
                return flaw
            if values is not None and (flaw := values(inner)):
                return flaw[0], f".{key}{flaw[1]}"
        return None

    return check_dict


def _union_check(checks: dict[type, Check | None]) -> Check | None:
    if not any(checks.values()):
        return None

    def check_union(value: Any) -> Flaw | None:
        check = checks.get(type(value))
        return None if check is None else check(value)

    return check_union


_PYTHON_TYPES: dict[type[mi.Type], type] = {
    mi.IntType: int,
    mi.DateTimeType: datetime,
    mi.ListType: list,
    mi.SetType: set,
    mi.FrozenSetType: frozenset,
    mi.VarTupleType: tuple,
    mi.TupleType: tuple,
    mi.DictType: dict,
    mi.TypedDictType: dict,
}


def _python_type(info: mi.Type) -> type:
    """Return the type of the values that one member of a union decodes to; unions hold at most one of each."""
    if isinstance(info, mi.StructType | mi.DataclassType | mi.NamedTupleType):
        return info.cls
    return _PYTHON_TYPES.get(type(info), type(None))
