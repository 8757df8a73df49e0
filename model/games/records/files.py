"""Opens files, plain or compressed, and gives their bytes; one that is damaged or cut off ends in a ValueError."""

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import Any

import zstandard

COMPRESSIONS = (".zst", ".gz", ".zip")
LONGEST = 1 << 20
"""Signs of the text of one game; a file that holds more in one is no record of games, and would fill the memory."""
_CHUNK = 1 << 16
# What is read of zstandard at once is unpacked as a whole, and these few bytes may unpack to 8 MiB.
_BITE = 1 << 8
# Beside errors of their own the libraries raise what comes of following a size or an offset that is wrong.
_DAMAGE = (
    *(EOFError, OSError, OverflowError, RuntimeError, UnicodeDecodeError),
    *(lzma.LZMAError, zipfile.BadZipFile, zlib.error, zstandard.ZstdError),
)


class _Zstandard(RawIOBase):
    """Decompresses frame after frame. zstandard's own reader takes a file that is cut off for a whole one."""

    def __init__(self, file: BufferedReader) -> None:
        """Take the compressed file."""
        self._file, self._compressed, self._ready = file, b"", b""
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read some bytes; EOFError if the file ends in the middle of a frame."""
        while not self._ready:
            self._compressed = self._compressed or self._file.read(_BITE)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("it is cut off")
                return 0
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready = frame.decompress(self._compressed)
            self._compressed, self._frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


@contextmanager
def open_records(path: Path, ending: str) -> Iterator[BufferedReader]:
    """Open a file for reading bytes, decompressed if ``ending`` is one of ``COMPRESSIONS``."""
    with path.open("rb") as file:
        try:
            with _decompressed(file, ending) as content:
                yield content
        except _DAMAGE as error:
            raise ValueError(f"{path.name} cannot be decompressed: {error}") from None


def _decompressed(file: BufferedReader, ending: str) -> BufferedReader:
    if ending == ".zst":
        return BufferedReader(_Zstandard(file), _CHUNK)
    if ending == ".gz":
        return BufferedReader(gzip.GzipFile(fileobj=file), _CHUNK)
    if ending == ".zip":
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
        if len(members) != 1:
            raise zipfile.BadZipFile(f"it holds {len(members)} files, where one is expected")
        # zipfile unpacks what it reads of the others as a whole, and 4 KiB of bzip2 may be 80 MiB.
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile("it is compressed otherwise than by deflate")
        content: Any = archive.open(members[0])
        return BufferedReader(content, _CHUNK)
    return file


def decode(file: BufferedReader, encoding: str = "utf-8-sig") -> TextIOWrapper:
    """Give the text of a file; bytes that are no text become question marks."""
    return TextIOWrapper(file, encoding=encoding, errors="replace")
