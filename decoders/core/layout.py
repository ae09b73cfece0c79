"""
Compile IDL shapes into readers of bytes.

Each shape becomes one Python function made of `struct` calls, because decoding is the hot path: a generic walk of the
type tree costs ten times as much (docs/BENCHMARKS.md).
"""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from decoders.core import base58, idl
from decoders.core.errors import IdlError, LayoutError
from decoders.core.idl import Array, Blob, Enum, Field, Option, Prim, Struct, Text, Type, Vec
from decoders.core.types import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Array", "Blob", "Enum", "Field", "Idl", "Layout", "Option", "Prim", "Struct", "Text", "Type", "Vec"]

Reader = "Callable[[bytes, int], tuple[tuple[Any, ...], int]]"
_U32 = struct.Struct("<I")
_STRING_INTEGERS = {"u64", "i64", "u128", "i128", "u256", "i256"}


class Idl:
    """A program's layouts by name. Asking for one that it lacks raises IdlError."""

    def __init__(self, raw: idl.RawIdl) -> None:
        self.address = raw.address
        self.name = raw.name
        self.slots = raw.slots
        self.events = _ByName((shape.name, Layout(shape)) for shape in raw.events)
        self.instructions = _ByName((shape.name, Layout(shape)) for shape in raw.instructions)
        self.accounts = _ByName((shape.name, Layout(shape)) for shape in raw.accounts)

    @staticmethod
    def parse(text: str | bytes) -> Idl:
        """
        Parse an Anchor IDL of spec 0.1.0.

        Raises:
            IdlError: If it is none; the message names the place.
        """
        return Idl(idl.parse(text))


class Layout:
    """
    Fields of one event, instruction or account, and the compiled reader of its bytes.

    Readers take the known prefix: fields that an older record lacks are None, bytes after the last known field are kept
    as the record's tail. Data that ends inside a field is an error, except in accounts (`partial=True`).
    """

    def __init__(self, shape: idl.Shape) -> None:
        self.name = shape.name
        self.discriminator = shape.discriminator
        self.fields = shape.fields
        self.accounts = shape.accounts
        self.index = {field.name: i for i, field in enumerate(shape.fields)}
        self.account_index = {name: i for i, name in enumerate(shape.accounts)}
        self._full = _compile(shape.fields)
        self._prefixes: dict[int, Any] = {}
        self._by_length: dict[int, Any] = {}
        for length, count in _prefix_lengths(shape.fields):
            self._by_length[length] = self._padded(count)

    def _padded(self, count: int) -> Any:
        """Return the reader of the first `count` fields, the others None; made once each."""
        if count not in self._prefixes:
            self._prefixes[count] = _compile((*self.fields[:count], *[None] * (len(self.fields) - count)))
        return self._prefixes[count]

    def add_variant(self, length: int, without: tuple[str, ...]) -> None:
        """
        Read records of exactly `length` bytes (after the discriminator) without the fields named.

        For the few layouts in which a field was inserted instead of appended.
        """
        self.require(*without)
        self._by_length[length] = _compile(tuple(None if f.name in without else f for f in self.fields))

    def require(self, *names: str) -> None:
        """
        Check that fields exist.

        Raises:
            IdlError: Naming the first that is missing.
        """
        for name in names:
            if name not in self.index:
                raise IdlError(f"{self.name} has no field {name}")

    def pick(self, *names: str) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
        """
        Return a function from a record's values to the values of these fields (at least two).

        Raises:
            IdlError: If the IDL does not have one of them.
        """
        self.require(*names)
        return cast("Callable[[tuple[Any, ...]], tuple[Any, ...]]", itemgetter(*[self.index[name] for name in names]))

    def read(self, data: bytes, at: int, *, partial: bool = False) -> Record:
        """
        Read the fields that `data` holds from offset `at` (just after the discriminator).

        Args:
            partial: Stop at the last complete field instead of raising when the data ends inside one of fixed size.

        Raises:
            LayoutError: If the bytes do not follow the layout.
        """
        reader = self._by_length.get(len(data) - at, self._full)
        try:
            values, end = reader(data, at)
        except _Ends as stop:
            values, end = self._shorter(data, at, stop.field, partial)
        except (struct.error, UnicodeDecodeError) as error:
            raise LayoutError(f"{self.name}: {error}") from error
        except LayoutError as error:
            raise LayoutError(f"{self.name}: {error}") from None
        return Record(self, values) if end == len(data) else Record(self, values, data[end:], data)

    def _shorter(self, data: bytes, at: int, last: int, partial: bool) -> tuple[tuple[Any, ...], int]:
        """Read the longest whole prefix of a record that ends before or in field `last`."""
        count = last
        while True:
            try:
                values, end = self._padded(count)(data, at)
            except _Ends:
                count -= 1  # no field at all fits always
                continue
            except (LayoutError, UnicodeDecodeError) as error:
                raise LayoutError(f"{self.name}: {error}") from None
            if end == len(data) or partial:
                return values, end
            raise LayoutError(f"{self.name}: {len(data) - at} bytes end inside field {self.fields[count].name}")

    def render(self, record: Record) -> dict[str, Any]:
        """Return the record's fields by IDL name, ready for JSON: 64-bit integers and wider as text, bytes as hex."""
        return {
            field.name: None if value is None else _render(field.type, value)
            for field, value in zip(self.fields, record.values, strict=True)
        }


class _ByName(dict[str, Layout]):
    """Layouts by name; asking for one that the IDL lacks is an error of the IDL."""

    def __missing__(self, name: str) -> Layout:
        raise IdlError(f"it lacks {name}")


class _Ends(Exception):  # noqa: N818 - not an error: it tells where the data ended
    """The data ends before or inside field number `field`."""

    def __init__(self, field: int) -> None:
        self.field = field


def _prefix_lengths(fields: tuple[Field, ...]) -> Iterator[tuple[int, int]]:
    """Yield (bytes, number of fields) for each proper prefix of fixed size, but for the empty one."""
    size = 0
    for count, field in enumerate(fields[:-1], 1):
        flat = _flat(field.type)
        if flat is None:
            return
        size += struct.calcsize("<" + flat)
        yield size, count


def _flat(node: Type) -> str | None:
    """Return the struct format of a type of fixed size, or None."""
    match node:
        case Prim(name):
            return idl.PRIMITIVES[name]
        case Array(Prim("u8"), count):
            return f"{count}s"
        case Array(of, count):
            item = _flat(of)
            return None if item is None else item * count
        case Struct(_, fields):
            items = [_flat(field.type) for field in fields]
            return None if None in items else "".join(cast("list[str]", items))
        case Enum() if node.plain:
            return "B"
        case _:
            return None


class _Source:
    """Python source of one reader under construction."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"LayoutError": LayoutError, "Ends": _Ends}
        self._count = 0

    def temp(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def bind(self, value: Any) -> str:
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def unflatten(self, node: Type, temps: list[str], checks: list[str]) -> str:
        """Return the expression of a fixed-size value from struct items, adding names to `temps`."""
        match node:
            case Prim("bool"):
                temps.append(name := self.temp())
                checks.append(f"{name} > 1")
                return f"{name} == 1"
            case Prim(kind) if len(idl.PRIMITIVES[kind]) > 1 and kind != "pubkey":
                words = [self.temp() for _ in idl.PRIMITIVES[kind]]
                temps.extend(words)
                return "(" + " | ".join(f"{word} << {64 * i}" for i, word in enumerate(words)) + ")"
            case Prim() | Array(Prim("u8"), _):
                temps.append(name := self.temp())
                return name
            case Array(of, count):
                return _tuple([self.unflatten(of, temps, checks) for _ in range(count)])
            case Struct(_, fields):
                return _tuple([self.unflatten(field.type, temps, checks) for field in fields])
            case Enum(_, variants):
                temps.append(name := self.temp())
                checks.append(f"{name} >= {len(variants)}")
                return f"{self.bind(tuple(variant.name for variant in variants))}[{name}]"
            case _:  # pragma: no cover - _flat admits nothing else
                raise AssertionError(node)

    def run(self, fields: list[Field], number: int, values: list[str]) -> None:
        """Read consecutive fields of fixed size by one struct call; `number` is that of the first."""
        temps: list[str] = []
        checks: list[str] = []
        packed = struct.Struct("<" + "".join(cast("str", _flat(field.type)) for field in fields))
        exprs = [self.unflatten(field.type, temps, checks) for field in fields]
        unpack = self.bind(packed.unpack_from)
        self.lines.append(f"end = at + {packed.size}")
        self.lines.append(f"if end > n: raise Ends({number + len(fields) - 1})")
        if temps:
            self.lines.append(f"{_tuple(temps)} = {unpack}(b, at)")
        if checks:
            self.lines.append(f"if {' or '.join(checks)}: raise LayoutError('a bool or enum tag is out of range')")
        self.lines.append("at = end")
        values.extend(exprs)


def _tuple(items: list[str]) -> str:
    return "(" + "".join(item + ", " for item in items) + ")"


def _compile(fields: tuple[Field | None, ...]) -> Any:
    """Return a reader `(bytes, at) -> (values, end)`; None fields are not in the bytes and read as None."""
    source = _Source()
    values: list[str] = []
    run: list[Field] = []
    for number, field in enumerate((*fields, None)):
        if field is not None and _flat(field.type) is not None:
            run.append(field)
            continue
        if run:
            source.run(run, number - len(run), values)
            run = []
        if field is not None:
            reader = source.bind(_dynamic(field.type))
            values.append(name := source.temp())
            source.lines.append(f"if at >= n: raise Ends({number})")
            source.lines.append(f"{name}, at = {reader}(b, at)")
        elif number < len(fields):
            values.append("None")
    body = "\n    ".join(["n = len(b)", *source.lines, f"return {_tuple(values)}, at"])
    exec(f"def read(b, at):\n    {body}", source.names)  # noqa: S102 - the text is made here from checked IDL types
    return source.names["read"]


def _dynamic(node: Type) -> Any:
    """Return a reader `(bytes, at) -> (value, end)` of one value of variable size (or of one inside such)."""
    match node:
        case Text():
            return _read_text
        case Blob():
            return _read_blob
        case Option(of):
            return _option_reader(_dynamic(of))
        case Vec(of):
            return _vec_reader(of)
        case Array(of, count) if _flat(node) is None:
            return _sequence_reader([_dynamic(of)] * count)
        case Struct(_, fields) if _flat(node) is None:
            return _sequence_reader([_dynamic(field.type) for field in fields])
        case Enum(_, variants) if not node.plain:
            return _enum_reader(
                [(v.name, _sequence_reader([_dynamic(field.type) for field in v.fields])) for v in variants]
            )
        case _:
            return _fixed_reader(node)


def _fixed_reader(node: Type) -> Any:
    inner = _compile((Field("value", node),))

    def read(b: bytes, at: int) -> tuple[Any, int]:
        try:
            values, end = inner(b, at)
        except _Ends:
            raise LayoutError("data ends inside a value") from None
        return values[0], end

    return read


def _length(b: bytes, at: int) -> int:
    if at + 4 > len(b):
        raise LayoutError("data ends inside a length")
    return cast("int", _U32.unpack_from(b, at)[0])


def _read_blob(b: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + _length(b, at)
    if end > len(b):
        raise LayoutError(f"a length says {end - at - 4} bytes, {len(b) - at - 4} are left")
    return b[at + 4 : end], end


def _read_text(b: bytes, at: int) -> tuple[str, int]:
    found, end = _read_blob(b, at)
    return found.decode(), end


def _option_reader(inner: Any) -> Any:
    def read(b: bytes, at: int) -> tuple[Any, int]:
        if at >= len(b) or b[at] > 1:
            raise LayoutError("an option's tag is missing or out of range")
        return inner(b, at + 1) if b[at] else (None, at + 1)

    return read


def _vec_reader(of: Type) -> Any:
    inner = _dynamic(of)
    least = _least_size(of)
    if least == 0:
        raise IdlError("a vec of items without size cannot be bounded")

    def read(b: bytes, at: int) -> tuple[Any, int]:
        count = _length(b, at)
        at += 4
        if count * least > len(b) - at:
            raise LayoutError(f"a vec says {count} items, {len(b) - at} bytes are left")
        items = []
        for _ in range(count):
            item, at = inner(b, at)
            items.append(item)
        return items, at

    return read


def _sequence_reader(inners: list[Any]) -> Any:
    def read(b: bytes, at: int) -> tuple[Any, int]:
        items = []
        for inner in inners:
            item, at = inner(b, at)
            items.append(item)
        return tuple(items), at

    return read


def _enum_reader(variants: list[tuple[str, Any]]) -> Any:
    def read(b: bytes, at: int) -> tuple[Any, int]:
        if at >= len(b) or b[at] >= len(variants):
            raise LayoutError("an enum's tag is missing or out of range")
        name, inner = variants[b[at]]
        values, end = inner(b, at + 1)
        return (name, values), end

    return read


def _least_size(node: Type) -> int:
    """Return the fewest bytes a value can take."""
    match node:
        case Text() | Blob() | Vec():
            return 4
        case Option() | Enum():
            return 1
        case Array(of, count):
            return _least_size(of) * count
        case Struct(_, fields):
            return sum(_least_size(field.type) for field in fields)
        case _:
            return struct.calcsize("<" + idl.PRIMITIVES[node.name])


def _render(node: Type, value: Any) -> Any:
    match node:
        case Prim("pubkey"):
            return base58.encode(value)
        case Prim(name) if name in _STRING_INTEGERS:
            return str(value)
        case Blob() | Array(Prim("u8"), _):
            return value.hex()
        case Option(of):
            return None if value is None else _render(of, value)
        case Vec(of) | Array(of, _):
            return [_render(of, item) for item in value]
        case Struct():
            return _render_struct(node, value)
        case Enum(_, variants) if not node.plain:
            name, values = value
            return {name: _render_struct(next(v for v in variants if v.name == name), values)}
        case _:
            return value


def _render_struct(node: Struct, values: tuple[Any, ...]) -> Any:
    rendered = [_render(field.type, value) for field, value in zip(node.fields, values, strict=True)]
    if node.tuple_like:
        return rendered[0] if len(rendered) == 1 else rendered
    return {field.name: value for field, value in zip(node.fields, rendered, strict=True)}
