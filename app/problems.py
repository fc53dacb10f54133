"""Every problem which the service reports, by stable code: the one list behind errors, documentation and tests.

Problem                       raised by app; carries a code of this list and a detail for people
QueryError (search/expression.py)         invalid_query
ModelError (model/errors.py)  image_*, empty_text, no_known_words, degenerate_query, bundle_*
LibraryError (index/errors.py)  record_not_found, invalid_cursor, invalid_filter, space_mismatch, ...
"""

# ruff: noqa: E501  # one line for each problem reads best

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class ProblemKind:
    """What is always the same about a problem: its code, HTTP status, title and what it means."""

    code: str
    status: int
    title: str
    meaning: str


_KINDS = (
    ProblemKind("invalid_request", 422, "Invalid request", "A parameter or field is missing, unknown or invalid; `errors` names each. With the status 400: the request is not valid HTTP/1.1."),
    ProblemKind("malformed_body", 400, "Malformed body", "The body is not the JSON or multipart data that its content type announces."),
    ProblemKind("unsupported_media_type", 415, "Unsupported media type", "This operation does not accept the content type of the body."),
    ProblemKind("unauthorized", 401, "Unauthorized", "The API key is missing or wrong. Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`."),
    ProblemKind("forbidden", 403, "Forbidden", "The API key does not allow this; `needed` names the scope that does."),
    ProblemKind("too_many_attempts", 429, "Too many attempts", "There were too many wrong API keys from this address. Try again after the seconds given in Retry-After."),
    ProblemKind("cross_site_request", 403, "Cross-site request", "A page of another site tried to change something or made a costly request. To allow this, add its origin to VISEM_ALLOWED_ORIGINS."),
    ProblemKind("misdirected_request", 421, "Misdirected request", "The service has no API key and serves this machine only, but the request names another host. Set VISEM_API_KEY, or add the origin to VISEM_ALLOWED_ORIGINS."),
    ProblemKind("not_found", 404, "Not found", "There is no such path."),
    ProblemKind("method_not_allowed", 405, "Method not allowed", "The path exists, but not with this method; `Allow` lists those it has."),
    ProblemKind("request_too_large", 413, "Request too large", "The body exceeds the limit; see `limits` in /v1/info."),
    ProblemKind("head_too_large", 431, "Request header fields too large", "The URL and the headers of the request are larger than the limit."),
    ProblemKind("request_timeout", 408, "Request timeout", "The request, or a part of it, did not arrive in time. Send it again."),
    ProblemKind("too_many_files", 413, "Too many files", "More files in one request than the limit allows; send several requests."),
    ProblemKind("range_not_satisfiable", 416, "Range not satisfiable", "The requested range lies outside of the content."),
    ProblemKind("http_error", 400, "HTTP error", "The request was refused for a reason without a code of its own."),
    ProblemKind("internal_error", 500, "Internal error", "An error in the service. Its log has the details under the request id."),
    ProblemKind("invalid_query", 422, "Invalid query", "The expression has a syntax error; `column` (1-based) points at it."),
    ProblemKind("empty_text", 422, "Empty text", "A text has no words in it."),
    ProblemKind("no_known_words", 422, "No known words", "The model knows none of the words of a text; `unknown_words` lists them."),
    ProblemKind("degenerate_query", 422, "Degenerate query", "The terms of the query cancel each other out, so its vector has no direction."),
    ProblemKind("invalid_cursor", 422, "Invalid cursor", "The cursor is damaged, or belongs to another query. Start without a cursor."),
    ProblemKind("invalid_filter", 422, "Invalid filter", "A metadata filter cannot be used."),
    ProblemKind("record_not_found", 404, "Record not found", "There is no image or sentence with this id."),
    ProblemKind("source_not_found", 404, "Source not found", "There is no source with this id."),
    ProblemKind("source_refused", 422, "Source refused", "The folder cannot be a source: it overlaps another one, or lies in the library."),
    ProblemKind("images_rejected", 422, "Images rejected", "No file was accepted and nothing was stored; `errors` names each file, the code and the reason."),
    ProblemKind("sentences_rejected", 422, "Sentences rejected", "No sentence was accepted and nothing was stored; `errors` gives the reasons."),
    ProblemKind("texts_rejected", 422, "Texts rejected", "No text could be embedded; `errors` gives the reasons."),
    ProblemKind("image_empty", 422, "Empty image file", "The file has no bytes."),
    ProblemKind("image_unreadable", 422, "Unreadable image", "The file is not an image, or is damaged."),
    ProblemKind("image_truncated", 422, "Truncated image", "The image file ends too early."),
    ProblemKind("image_too_small", 422, "Image too small", "The image has too few pixels on a side."),
    ProblemKind("image_too_large", 422, "Image too large", "The image has too many bytes or pixels; see `limits` in /v1/info."),
    ProblemKind("image_format_unsupported", 422, "Unsupported image format", "The image is in a format that is not accepted."),
    ProblemKind("fetch_disabled", 403, "Fetching is off", "The service does not fetch images from other servers. Send the file, or set VISEM_FETCH=on."),
    ProblemKind("address_refused", 422, "Address refused", "The address of the image is not on the public internet, or cannot be used."),
    ProblemKind("fetch_failed", 422, "Fetching failed", "The server at the address of the image did not send it."),
    ProblemKind("calibration_missing", 501, "No calibration", "The model bundle has no calibration for such a query, so min_confidence and all cannot be used."),
    ProblemKind("captioner_missing", 501, "No captioner", "The model bundle has no captioner, so captions cannot be generated. Use mode=retrieve."),
    ProblemKind("structure_unknown", 422, "Unknown structure", "The structure names a part of speech that does not exist."),
    ProblemKind("structure_too_long", 422, "Structure too long", "The structure has more words than captions can follow."),
    ProblemKind("not_ready", 503, "Not ready", "The readiness check failed; try again later."),
    ProblemKind("overloaded", 503, "Overloaded", "The service is at its limit of work. Nothing was done: try again after the seconds given in Retry-After."),
    ProblemKind("descriptors_exhausted", 503, "Too many open files", "The service, or its machine, has no file descriptors left. Nothing was done: try again later, or raise the limit of the service (`ulimit -n`)."),
    ProblemKind("shutting_down", 503, "Shutting down", "The service is stopping and accepts no more requests."),
    ProblemKind("library_closed", 503, "Library closed", "The service is stopping and accepts no more requests."),
    ProblemKind("invalid_metadata", 422, "Invalid metadata", "The metadata is not a JSON object, or is too large."),
    ProblemKind("invalid_text", 422, "Invalid text", "The sentence cannot be stored: it is empty, too long, or not valid Unicode."),
    ProblemKind("invalid_vector", 500, "Invalid vector", "The model made a vector that the library cannot use."),
    ProblemKind("reindex_conflict", 503, "Re-indexing", "The library is being embedded again with another bundle."),
    ProblemKind("library_not_found", 500, "Library not found", "There is no library at the configured path."),
    ProblemKind("library_replaced", 503, "Library replaced", "The folder of the library, or its tables, were moved, replaced or removed while the service ran. Nothing was acknowledged: put them back, or restart the service."),
    ProblemKind("library_busy", 503, "Library busy", "Another process is writing to the library. Nothing was changed: try again."),
    ProblemKind("content_missing", 500, "Content missing", "The file of an image is gone from where the service stores files. Adding the same image again brings it back."),
    ProblemKind("source_away", 503, "Source away", "The folder in which the file of this image lies is not there at the moment: a drive that is not connected or mounted, for example. Nothing is lost: try again when it is back."),
    ProblemKind("storage_failed", 507, "Storage failed", "The disk is full or failed, or the bucket on S3 cannot be used. What was not acknowledged was not stored."),
    ProblemKind("catalog_unsupported", 503, "Catalog unsupported", "This version does not know the schema of the library: a newer one has changed it. Update this one."),
    ProblemKind("engine_away", 503, "Engine away", "An engine that the service works with, for records, vectors or files, does not answer; `engine` says which. Try again after the seconds given in Retry-After: what was not acknowledged may be stored or not, and doing it again does no harm."),
    ProblemKind("replica_away", 503, "Replica away", "No replica of the service answered; the balancer before them says so. Try again after the seconds given in Retry-After: what was not acknowledged may be stored or not, and doing it again does no harm."),
    ProblemKind("engine_unsupported", 500, "Engine unsupported", "The settings name an engine for a part of the library that this version does not have."),
    ProblemKind("library_error", 500, "Library error", "The library could not complete the operation; the log has the details."),
    ProblemKind("catalog_corrupted", 500, "Catalog corrupted", "The catalog of the library is damaged. Restore it from a backup."),
    ProblemKind("archive_damaged", 500, "Archive damaged", "The file is an incomplete or damaged archive of a library, or none; only the command line reads archives."),
    ProblemKind("backup_damaged", 500, "Backup damaged", "The file is an incomplete or damaged backup, or not a backup; only the command line reads backups."),
    ProblemKind("space_mismatch", 503, "Space mismatch", "The library was embedded with another model bundle. Restart the service with that bundle, or run `visem reindex`."),
    ProblemKind("bundle_missing", 500, "Bundle missing", "There is no model bundle at the configured path."),
    ProblemKind("bundle_corrupted", 500, "Bundle corrupted", "A file of the model bundle is damaged."),
    ProblemKind("bundle_unsupported", 500, "Bundle unsupported", "This version does not know the format of the model bundle."),
)  # fmt: skip

PROBLEMS: Mapping[str, ProblemKind] = MappingProxyType({kind.code: kind for kind in _KINDS})
"""Every kind of problem by its code."""


class Problem(Exception):  # noqa: N818  # RFC 9457 calls it a problem
    """Something that went wrong on purpose: a code of `PROBLEMS`, a detail for people, members for programs."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = PROBLEMS[code]
        self.code = code
        self.detail = detail
        self.status = status or self.kind.status
        self.headers = dict(headers or {})
        self.members = members


_OF_RUST = re.compile(r"\(os error (\d+)\)")
"""In what libraries written in Rust raise (safetensors, tokenizers), where Python would raise an `OSError`."""


def describe(error: Exception) -> tuple[str, str]:
    """The code and the message of an exception.

    All parts of Visem raise exceptions with a `code` and a message for people. They are told by that, so that none of
    their classes has to be imported.
    """
    code = getattr(error, "code", None)
    if isinstance(code, str):
        return code, str(error)
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{error.filename}: "
        return "system_error", f"{name}{error.strerror}."
    if system := _OF_RUST.search(str(error)):
        return "system_error", f"{os.strerror(int(system[1]))}."
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return "internal_error", f"An unexpected error, {reason}. Run it again with --debug for the details."
