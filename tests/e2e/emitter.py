"""
Assemble a program for the Solana runtime that logs its instruction data, as Anchor's `emit!` logs an event.

Deployed at a launchpad's address it says again, on a real runtime, what that launchpad once said: `Program data:` and
base64 of the bytes that the instruction brings. The instruction names no accounts.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


class Section(NamedTuple):
    """A section of the file. `kind` and `flags` are ELF's numbers, `link` is that of the section that it refers to."""

    name: str
    kind: int
    flags: int
    data: bytes
    link: int = 0
    info: int = 0
    entry: int = 0


LOAD, STORE, COPY, SET, ADD, CALL, EXIT = 0x79, 0x7B, 0xBF, 0xB7, 0x07, 0x85, 0x95
STACK = 10

# (operation, to register, from register, offset, value). Register 1 points at the program's input: u64 number of
# accounts (0 here), u64 length of the instruction data, the data (Agave program-runtime/src/serialization.rs).
CODE = (
    (COPY, 2, 1, 0, 0),
    (ADD, 2, 0, 0, 16),
    (LOAD, 3, 1, 8, 0),
    (STORE, STACK, 2, -16, 0),
    (STORE, STACK, 3, -8, 0),
    (COPY, 1, STACK, 0, 0),
    (ADD, 1, 0, 0, -16),
    (SET, 2, 0, 0, 1),
    (CALL, 0, 0, 0, -1),  # sol_log_data(slices of (address, length), number of them)
    (SET, 0, 0, 0, 0),
    (EXIT, 0, 0, 0, 0),
)

_HEADER_BYTES, _PROGRAM_HEADER_BYTES, _SECTION_HEADER_BYTES = 64, 56, 64
_SYMBOL_BYTES, _RELOCATION_BYTES = 24, 16
_TEXT_AT = _HEADER_BYTES + 3 * _PROGRAM_HEADER_BYTES + 8  # at a multiple of 16
_NAMES = b"\0sol_log_data\0entrypoint\0"


def program() -> bytes:
    """Return the program's ELF file."""
    code = b"".join(struct.pack("<BBhi", op, to | of << 4, offset, value) for op, to, of, offset, value in CODE)
    return _file(_sections(code))


def _sections(text: bytes) -> list[Section]:
    """Return the sections in the order of the file: the code, and by what the loader binds its one call."""
    call_at = _TEXT_AT + 8 * [op for op, *_ in CODE].index(CALL)
    symbols = struct.pack("<24x") + struct.pack("<IBBHQQ", 1, 0x10, 0, 0, 0, 0)
    symbols += struct.pack("<IBBHQQ", _NAMES.index(b"entrypoint"), 0x12, 0, 1, _TEXT_AT, len(text))
    relocation = struct.pack("<QII", call_at, 10, 1)  # R_BPF_64_32: call symbol 1
    sizes = [len(_padded(data)) for data in (text, symbols, _NAMES)]
    symbols_at = _TEXT_AT + sizes[0]
    names_at = symbols_at + sizes[1]
    relocation_at = names_at + sizes[2]
    # DT_REL, DT_RELSZ, DT_RELENT, DT_SYMTAB, DT_SYMENT, DT_STRTAB, DT_STRSZ, DT_NULL
    entries = (
        (17, relocation_at), (18, len(relocation)), (19, _RELOCATION_BYTES), (6, symbols_at), (11, _SYMBOL_BYTES),
        (5, names_at), (10, len(_NAMES)), (0, 0),
    )  # fmt: skip
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    return [
        Section(".text", 1, 6, text),
        Section(".dynsym", 11, 2, symbols, link=3, info=1, entry=_SYMBOL_BYTES),
        Section(".dynstr", 3, 2, _NAMES),
        Section(".rel.dyn", 9, 2, relocation, link=2, entry=_RELOCATION_BYTES),
        Section(".dynamic", 6, 3, dynamic, link=3, entry=16),
    ]


def _file(sections: list[Section]) -> bytes:
    names = b"\0" + b"".join(section.name.encode() + b"\0" for section in sections) + b".shstrtab\0"
    sections = [*sections, Section(".shstrtab", 3, 0, names)]
    body, headers, starts = b"", bytes(_SECTION_HEADER_BYTES), []
    for section in sections:
        at = _TEXT_AT + len(body)
        starts.append(at)
        name_at = names.index(section.name.encode() + b"\0")
        address = at if section.flags else 0
        headers += struct.pack(
            "<IIQQQQIIQQ", name_at, section.kind, section.flags, address, at, len(section.data), section.link,
            section.info, 8, section.entry,
        )  # fmt: skip
        body += _padded(section.data)
    text, dynamic = sections[0], sections[4]
    segments = _segment(1, 5, starts[0], len(text.data))  # code: readable, executable
    segments += _segment(1, 4, starts[1], starts[5] - starts[1])  # the rest: readable
    segments += _segment(2, 6, starts[4], len(dynamic.data))  # PT_DYNAMIC
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 247, 1, _TEXT_AT, _HEADER_BYTES, _TEXT_AT + len(body), 0,
        _HEADER_BYTES, _PROGRAM_HEADER_BYTES, 3, _SECTION_HEADER_BYTES, len(sections) + 1, len(sections),
    )  # fmt: skip
    return (header + segments).ljust(_TEXT_AT, b"\0") + body + headers


def _segment(kind: int, flags: int, at: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, 8)


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 8) * 8, b"\0")
