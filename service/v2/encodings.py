"""Reads compressed bodies, never more of them than a body may hold, and compresses answers for those who ask for it."""

import gzip
import re
import zlib

from service.errors import Problem, TooLarge

# What zlib expects: gzip's frame, or zlib's own, which HTTP calls deflate.
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# Answers are small; more effort would take longer than it saves.
_LEVEL = 1
_NEVER = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


class UnknownEncoding(Problem):
    """A body that is compressed in a way that nobody here can read."""

    status, code = 415, "unknown_encoding"


class BadEncoding(Problem):
    """A body that is not compressed as its header says."""

    status, code = 400, "bad_encoding"


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Give a body as it was before it was compressed; TooLarge if that is longer than ``limit`` bytes.

    No more than that is unpacked, however little was sent.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW:
        raise UnknownEncoding(f"the body's encoding is {encoding[:100]!r}; send it plain, or as gzip or deflate")
    stream = zlib.decompressobj(_WINDOW[encoding])
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        raise BadEncoding(f"the body cannot be unpacked as {encoding}") from None
    if len(plain) > limit:
        raise TooLarge(f"the body, unpacked, is larger than {limit} bytes; send fewer moves a request")
    if not stream.eof or stream.unused_data:
        raise BadEncoding(f"the body is not one whole {encoding} stream")
    return plain


def accepted(header: str) -> str | None:
    """Give the encoding that an Accept-Encoding header names first and that is known here; None if there is none."""
    for item in header.split(","):
        name, _, parameters = item.partition(";")
        if (known := name.strip().lower()) in _WINDOW and not _NEVER.fullmatch(parameters):
            return known
    return None


def pack(body: bytes, encoding: str) -> bytes:
    """Compress a body."""
    return gzip.compress(body, _LEVEL, mtime=0) if encoding == "gzip" else zlib.compress(body, _LEVEL)
