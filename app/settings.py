"""Settings of the service, read from `VISEM_*` environment variables when constructed."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.keys import MIN_LENGTH

MEBIBYTE = 1024 * 1024

LogLevel = Literal["debug", "info", "warning", "error"]

Network = IPv4Network | IPv6Network


JSON_SHARE = 8
"""A body without files has to fit into this part of the budget of memory."""


class Settings(BaseSettings):
    """What can be configured. The environment variable of `max_files` is `VISEM_MAX_FILES`, and so on."""

    model_config = SettingsConfigDict(
        env_prefix="VISEM_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # the input may be a secret
    )

    host: str = Field("127.0.0.1", description="Address to listen on. 0.0.0.0 listens on every interface.")
    published_host: str | None = Field(
        None,
        description="Address on which something before the service, such as Docker, publishes it; unset: VISEM_HOST. "
        "If that is this machine alone, a service without a key answers to no other host.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")
    library: Path = Field(Path("library"), description="Directory of the library. Created when absent.")
    catalog: str | None = Field(
        None,
        repr=False,
        description="URL of the catalog: postgresql+psycopg://user@host/name; in the library's directory when unset.",
    )
    vectors: str | None = Field(
        None,
        repr=False,
        description="URL of the vector engine: milvus+http://host:19530/name; in the library's directory when unset.",
    )
    content: str | None = Field(
        None,
        repr=False,
        description="URL of the image files: s3://bucket/prefix; in the library's directory when unset.",
    )
    s3_presigned: Literal["on", "off"] = Field(
        "off", description="on: clients of the API read image files from S3 itself, by URLs that are valid for minutes."
    )
    sources: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Folders of photographs that stay where they are, with colons between; the service follows them.",
    )
    rescan_minutes: float = Field(
        60,
        gt=0,
        description="Minutes between two passes over a source, besides those when something changes in it.",
    )
    missing_days: float = Field(
        30, ge=0, description="Days after which an image is deleted whose file is missing from its source."
    )
    bundle: Path | None = Field(None, description="Directory of the model bundle; the shipped one when unset.")
    device: str = Field(
        "auto",
        description="Where the model runs: auto, cpu, cuda or cuda:N.",
    )

    max_upload_bytes: int = Field(
        256 * MEBIBYTE, ge=1024, description="Largest request body with files in it, all files together."
    )
    max_image_bytes: int = Field(50 * MEBIBYTE, ge=1024, description="Largest single image file.")
    max_json_bytes: int = Field(2 * MEBIBYTE, ge=1024, description="Largest request body without files.")
    max_pixels: int = Field(100_000_000, ge=64, description="Largest image, width times height.")
    max_files: int = Field(256, ge=1, le=10_000, description="Most files in one request.")
    max_texts: int = Field(256, ge=1, le=10_000, description="Most texts in one request.")

    batch_size: int = Field(16, ge=1, le=1024, description="Most images or texts embedded in one batch.")
    batch_wait_ms: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="How long an incomplete batch waits for more, in milliseconds; while one is computed, more gather. "
        "Texts of searches do not wait.",
    )
    max_searches: int = Field(
        64, ge=1, le=1024, description="Searches at work or waiting at a time; more are refused with 503."
    )
    max_jobs: int = Field(
        32,
        ge=1,
        le=1024,
        description="Requests at work or waiting at a time that embed, store or caption; more are refused with 503.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Processes that serve; unset: one for each core where there are four or more, and 1 GiB of memory "
        "for each; else, and with a GPU, one.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Cores to use, of those that there are; unset: what the system and the cgroup give the process.",
    )
    decode_threads: int | None = Field(
        None, ge=1, le=64, description="Images decoded at a time; one for each core when unset."
    )
    memory_budget: int = Field(
        256 * MEBIBYTE, ge=MEBIBYTE, description="Bytes of files, pictures and JSON bodies in memory at a time."
    )
    upload_budget: int = Field(
        1024 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Bytes of forms with files that are taken in at a time, on the disk of temporary files.",
    )

    fetch: Literal["on", "off"] = Field(
        "off", description="on: images may be given by an http or https address of the public internet."
    )
    caption_images: int = Field(
        0, ge=0, le=20, description="Captions that each new image gets in the background; 0: none."
    )

    api_key: SecretStr | None = Field(
        None,
        description="A key that may do everything, of 16 characters or more; `visem key` makes others. With any key, "
        "everything under /v1 and /metrics demands one: as a bearer token or as X-API-Key.",
    )
    insecure: bool = Field(
        False, description="Serve without a key on an address that other machines reach, where anyone may do anything."
    )
    allowed_origins: tuple[str, ...] = Field(
        (),
        description="Origins which browsers may call from, and by whose names a service without a key may be called, "
        'as a JSON list; ["*"] for any. None by default.',
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, "
        "separated by commas.",
    )
    max_connections: int = Field(
        1000, ge=1, le=65_536, description="Connections at a time; fewer where there are not enough file descriptors."
    )
    max_client_connections: int = Field(
        256, ge=1, le=65_536, description="Connections of one client address at a time; its idle ones make room."
    )
    head_timeout: float = Field(
        10, ge=0.1, le=3600, description="Seconds in which the head of a request has to be complete."
    )
    body_timeout: float = Field(
        30, ge=0.1, le=3600, description="Seconds in which 16 KiB of a body have to come in, or of an answer be read."
    )
    idle_timeout: int = Field(
        15, ge=1, le=3600, description="Seconds after which a connection without a request is closed."
    )
    log_level: LogLevel = Field("info", description="Least severe level that is logged.")
    undo_seconds: float = Field(15, ge=1, le=3600, description="Seconds in which a page's deletion can be undone.")
    shutdown_timeout: int = Field(
        30, ge=1, le=3600, description="Seconds which running requests get to finish at shutdown."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """An empty variable is as good as none, but for the key: whoever sets it means to have one."""
        return init_settings, env_settings, _EmptyKey(settings_cls)

    @field_validator("s3_presigned")
    @classmethod
    def _on_s3(cls, value: str, given: ValidationInfo) -> str:
        """Refuse what would have no effect."""
        if value == "on" and "content" in given.data and given.data["content"] is None:
            raise ValueError("needs image files on S3: set VISEM_CONTENT=s3://bucket/prefix, or leave it off")
        return value

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        """Refuse what no runtime is for."""
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError("must be auto, cpu, cuda or cuda:N")
        return device

    @field_validator("sources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """`/photos:/more` is two folders."""
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("library", "bundle")
    @classmethod
    def _home(cls, path: Path | None) -> Path | None:
        """`~` is the home folder, also where no shell has replaced it."""
        try:
            return None if path is None else path.expanduser()
        except RuntimeError as error:
            raise ValueError(f"there is no such home folder: {path}") from error

    @property
    def json_budget(self) -> int:
        """The part of the budget of memory that is for bodies without files."""
        return self.memory_budget // JSON_SHARE

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _separated(cls, proxies: object) -> object:
        return [one.strip() for one in proxies.split(",")] if isinstance(proxies, str) else proxies

    @field_validator("api_key")
    @classmethod
    def _usable_key(cls, key: SecretStr | None) -> SecretStr | None:
        """Refuse a key which no HTTP header could carry, rather than lock everybody out."""
        if key is not None:
            secret = key.get_secret_value()
            if not (secret.isascii() and secret.isprintable()) or secret != secret.strip():
                raise ValueError("must consist of printable ASCII characters, without spaces around it")
            if len(secret) < MIN_LENGTH:
                raise ValueError(
                    f"must have at least {MIN_LENGTH} characters; take a random one, or make one with `visem key add`"
                )
        return key


class _EmptyKey(PydanticBaseSettingsSource):
    """Gives the key where its variable is empty, which other sources ignore."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one field."""
        return os.environ.get("VISEM_API_KEY"), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values of all fields."""
        return {"api_key": ""} if os.environ.get("VISEM_API_KEY") == "" else {}
