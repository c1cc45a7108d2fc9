"""A writer of zip archives that says what it is told to say, true or not."""

import struct
import zlib
from dataclasses import dataclass

STORED, DEFLATED = 0, 8


@dataclass
class Member:
    """One member; what is None is filled in truthfully."""

    name: str
    content: bytes
    method: int = STORED
    crc: int | None = None
    compress_size: int | None = None
    file_size: int | None = None
    flags: int = 0
    offset: int | None = None  # of its local header

    def claims(self):
        """The CRC, the size in the archive and the size once inflated, as the archive is to state them."""
        inflated = self.content
        if self.method == DEFLATED and None in (self.crc, self.file_size):
            inflated = zlib.decompress(self.content, -15)
        crc = zlib.crc32(inflated) if self.crc is None else self.crc
        compress_size = len(self.content) if self.compress_size is None else self.compress_size
        file_size = len(inflated) if self.file_size is None else self.file_size
        return crc, compress_size, file_size


def raw_zip(members):
    """Return the bytes of an archive; the directory has each size in a zip64 field, so it may be anything."""
    body, directory = b"", b""
    for member in members:
        crc, compress_size, file_size = member.claims()
        name = member.name.encode()
        flags = member.flags | 0x800  # UTF-8
        offset = len(body) if member.offset is None else member.offset
        if member.offset is None:
            sizes = (min(compress_size, 0xFFFFFFFF), min(file_size, 0xFFFFFFFF))
            body += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, flags, member.method, 0, 33, crc, *sizes, len(name), 0)
            body += name + member.content
        extra = struct.pack("<HHQQ", 1, 16, file_size, compress_size)
        directory += struct.pack(
            "<4sHHHHHHIII", b"PK\1\2", 45, 45, flags, member.method, 0, 33, crc, 0xFFFFFFFF, 0xFFFFFFFF
        )
        directory += struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, offset) + name + extra
    count = len(members)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


def deflated_zeros(mebibytes):
    """Return a deflate stream of that many MiB of zeros, made without deflating them all."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    # After a full flush the compressor remembers nothing, so the same piece can be repeated.
    piece = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return piece * mebibytes + compressor.flush(zlib.Z_FINISH)
