"""Reading request bodies: multipart forms with files, and JSON where a form may come as well."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from app.http import descriptors
from app.http.multipart import parse_form
from app.http.problem_responses import invalid_field, invalid_fields
from app.ingest.names import display_name
from app.problems import Problem
from model import threads
from model.errors import ImageError
from model.images.limits import ImageLimits

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Upload:
    """A file of a form. The name is for display; the bytes may lie on the disk until they are read."""

    name: str | None
    size: int
    file: BinaryIO

    def read(self, limits: ImageLimits) -> bytes:
        """All bytes of the file, unless there are too many: ImageError, before they fill the memory."""
        if self.size > limits.max_bytes:
            raise ImageError(
                "image_too_large",
                f"The file has {self.size:,} bytes; the limit is {limits.max_bytes:,} (VISEM_MAX_IMAGE_BYTES). "
                "Send a smaller one, or raise the limit.",
            )
        self.file.seek(0)
        return threads.aside(self.size, self.file.read)

    def try_read(self, limits: ImageLimits) -> bytes | ImageError:
        """As `read`, but returns the error: one file among many must not stop the others."""
        try:
            return self.read(limits)
        except ImageError as error:
            return error


@dataclass(frozen=True)
class Form:
    """A multipart form: its files, and its other fields by name."""

    files: list[Upload]
    fields: dict[str, str]


def content_type(request: Request) -> str:
    """The media type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_multipart(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return content_type(request) == "multipart/form-data"


@asynccontextmanager
async def read_form(request: Request, file_field: str, max_files: int) -> AsyncIterator[Form]:
    """Parse a multipart form whose files are all in one field. The files are closed at the end.

    Problem: unsupported_media_type, malformed_body, too_many_files, invalid_request.
    """
    if not is_multipart(request):
        raise Problem("unsupported_media_type", "Send a form with Content-Type: multipart/form-data.")
    try:
        parsed = await parse_form(request, max_files=max_files, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Problem(
                "too_many_files",
                f"A request takes at most {max_files} files. Send several requests.",
                limit=max_files,
            ) from None
        raise Problem("malformed_body", f"The form cannot be read: {error.message}") from None
    except OSError as error:
        if descriptors.are_exhausted(error):
            raise
        raise Problem("storage_failed", f"The files of the form cannot be kept: {error.strerror}.") from error
    try:
        yield _sorted_form(parsed.multi_items(), file_field)
    finally:
        await parsed.close()


async def _image_form(request: Request) -> AsyncIterator[Form]:
    async with read_form(request, "image", max_files=1) as form:
        yield form


ImageForm = Annotated[Form, Depends(_image_form, scope="function")]
"""A form with one image in the field `image`, for a route to take."""


async def read_json(request: Request, model: type[Model]) -> Model:
    """Parse a JSON body; RequestValidationError, or Problem: unsupported_media_type, malformed_body."""
    if content_type(request) != "application/json":
        raise Problem(
            "unsupported_media_type", "Send Content-Type: application/json, or multipart/form-data for files."
        )
    try:
        document = json.loads(await request.body())
    except ValueError as error:
        raise Problem("malformed_body", f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise Problem("malformed_body", "The body is nested too deeply.") from None
    return validate(model, document)


def validate(model: type[Model], document: object, *, of: Literal["body", "query"] = "body") -> Model:
    """Validate what came in a body, or in a query; RequestValidationError names each bad field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        details = [{**detail, "loc": (of, *detail["loc"])} for detail in error.errors(include_url=False)]
        raise RequestValidationError(details) from None


def only_file(form: Form, field: str) -> Upload:
    """The one file of a form that must have exactly one."""
    if len(form.files) != 1:
        raise invalid_field(field, "is required" if not form.files else "only one file can be sent here")
    return form.files[0]


def form_body(model: type[BaseModel] | None, files: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI media type object of a multipart form: the fields of a model and the given file fields."""
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    if model is not None:
        schema = model.model_json_schema()
    schema["properties"] = {**files, **schema["properties"]}
    schema["required"] = [*files, *schema.get("required", ())]
    return {"multipart/form-data": {"schema": schema}}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI media type object of a JSON body."""
    return {"application/json": {"schema": model.model_json_schema()}}


def file_schema(description: str) -> dict[str, Any]:
    """The OpenAPI schema of a file in a form."""
    return {
        "type": "string",
        "format": "binary",
        "description": description,
        "examples": ["(bytes of photo.jpg)"],
    }


def files_schema() -> dict[str, Any]:
    """The OpenAPI schema of a field of several image files."""
    return {
        "type": "array",
        "items": file_schema("An image file."),
        "description": "One or many image files.",
        "examples": [["(bytes of photo.jpg)"]],
    }


def _sorted_form(items: list[tuple[str, UploadFile | str]], file_field: str) -> Form:
    files: list[Upload] = []
    fields: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    for name, value in items:
        if isinstance(value, UploadFile):
            if name == file_field:
                files.append(Upload(display_name(value.filename), value.size or 0, value.file))
            else:
                problems.append((name[:200], f"there is no such file field; send files as {file_field}"))
        elif name == file_field:
            problems.append((name, "must be a file: send it with a file name"))
        elif name in fields:
            problems.append((name[:200], "is given more than once"))
        else:
            fields[name] = value
    if problems:
        raise invalid_fields(problems)
    return Form(files, fields)
