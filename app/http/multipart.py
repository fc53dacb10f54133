"""Multipart forms (RFC 7578), read to their end, with the file names that clients really send."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.http.spool import Spool, SpooledUpload

_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=\s*\"?([^;\"\r\n]*)\"?", re.IGNORECASE)


class IncompleteForm(MultiPartException):
    """The body ended before its closing boundary."""

    def __init__(self) -> None:
        super().__init__("it ends before its closing boundary, so something is missing. Send it again.")


async def parse_form(request: Request, *, max_files: int, max_fields: int, max_part_size: int) -> FormData:
    """All parts of a multipart form. The caller closes it.

    Raises `MultiPartException` for a malformed form or too many parts, `IncompleteForm` for one that lacks its end,
    and OSError where its files cannot be kept on the disk. Then no file stays open.
    """
    async with aclosing(request.stream()) as stream:
        parser = _Parser(
            request.headers, stream, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size
        )
        try:
            form = await parser.parse()
            if not parser.complete:
                raise IncompleteForm
        except BaseException:
            parser.close()
            raise
    return form


def extended_name(disposition: bytes) -> str | None:
    """The name of a `filename*` parameter (RFC 8187); None where there is none that can be decoded."""
    found = _EXTENDED_NAME.search(disposition)
    if found is None or found[1].count(b"'") < 2:
        return None
    charset, _, value = found[1].split(b"'", 2)
    try:
        return unquote_to_bytes(value).decode(charset.decode("ascii"))
    except (LookupError, UnicodeError):
        return None


def plain_name(name: str) -> str:
    """A file name of which encoded words (RFC 2047), as of .NET, are decoded, or left out where they cannot be."""
    if not (name.startswith("=?") and name.endswith("?=")):
        return name
    try:
        return str(make_header(decode_header(name)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return ""


class _Parser(MultiPartParser):
    """Starlette's, which takes a body that stops anywhere for complete, and knows one kind of file name."""

    def __init__(
        self,
        headers: Headers,
        stream: AsyncGenerator[bytes, None],
        *,
        max_files: int,
        max_fields: int,
        max_part_size: int,
    ) -> None:
        super().__init__(headers, stream, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size)
        self.complete = False
        self._spool: Spool | None = None  # from the first file on

    def on_headers_finished(self) -> None:
        part = self._current_part
        disposition = part.content_disposition or b""
        extended = extended_name(disposition)
        if _EXTENDED_NAME.search(disposition) is not None:
            part.content_disposition = _EXTENDED_NAME.sub(b"", disposition)
            if b"filename" not in parse_options_header(part.content_disposition)[1]:
                part.content_disposition += b'; filename=""'
        super().on_headers_finished()
        if part.file is not None:
            name = extended if extended is not None else plain_name(part.file.filename or "")
            self._files_to_close_on_error.pop().close()  # Starlette's, one for each part
            self._spool = self._spool or Spool()
            part.file = SpooledUpload(self._spool, filename=name, headers=part.file.headers)

    def on_end(self) -> None:
        self.complete = True

    def close(self) -> None:
        """Close all files, those of parts that never ended too."""
        if self._spool is not None:
            self._spool.close()
