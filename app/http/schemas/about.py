"""The service about itself: information, health and problems."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from app.http.schemas.base import Output


class SpaceInfo(Output):
    """The joint space that the service embeds into."""

    id: str = Field(description="Digest of the bundle.", examples=["9f86d081884c7d65" * 4])
    name: str = Field(description="Name of the bundle.", examples=["visem-flickr8k-lite2"])
    dimension: int = Field(description="Length of its vectors.", examples=[1024])
    device: str = Field(description="Where the model runs.", examples=["cpu"])
    config: dict[str, Any] = Field(
        description="The bundle's configuration: backbone, preprocessing, training data, measured quality.",
        examples=[{"backbone": "tf_efficientnet_lite2"}],
    )


class IndexInfo(Output):
    """A nearest-neighbour index."""

    kind: str = Field(description="exact, or the approximate method in use.", examples=["exact"])
    size: int = Field(description="How many vectors it holds.", examples=[8000])
    recall: float | None = Field(
        description="Recall@10 against the exact result, measured with texts; 1 for an exact index, null before the "
        "measurement.",
        examples=[1.0],
    )
    waiting: int = Field(
        description="How many additions and deletions Milvus has not yet: it goes down while Milvus is filled.",
        examples=[0],
    )


class LibraryInfo(Output):
    """What the library holds."""

    images: int = Field(description="How many images.", examples=[8000])
    sentences: int = Field(description="How many sentences.", examples=[40_000])
    content_bytes: int = Field(description="Disk space of the image files and thumbnails.", examples=[1_100_000_000])
    catalog_bytes: int = Field(description="Disk space of records and vectors.", examples=[120_000_000])
    captions_owed: int = Field(description="How many images are to get captions in the background.", examples=[0])
    captions_given_up: int = Field(
        description="How many images get none because each attempt failed; `visem captions retry` begins anew.",
        examples=[0],
    )
    generation: int = Field(description="Goes up when all is embedded anew.", examples=[1])
    image_index: IndexInfo = Field(
        description="The index of images.", examples=[{"kind": "exact", "size": 8000, "recall": 1.0, "waiting": 0}]
    )
    sentence_index: IndexInfo = Field(
        description="The index of sentences.", examples=[{"kind": "exact", "size": 40_000, "recall": 1.0, "waiting": 0}]
    )


class LimitsInfo(Output):
    """What a request may be."""

    max_upload_bytes: int = Field(description="Bytes of a body with files.", examples=[268_435_456])
    max_image_bytes: int = Field(description="Bytes of one image file.", examples=[52_428_800])
    max_json_bytes: int = Field(description="Bytes of a body without files.", examples=[2_097_152])
    max_pixels: int = Field(description="Pixels of one image.", examples=[100_000_000])
    max_files: int = Field(description="Files in one request.", examples=[256])
    max_texts: int = Field(description="Texts in one request.", examples=[256])
    max_text_length: int = Field(description="Characters of one text or expression.", examples=[1000])
    max_terms: int = Field(description="Terms of an expression.", examples=[32])
    max_k: int = Field(description="Hits of one page.", examples=[200])


class CaptionInfo(Output):
    """How images can be captioned."""

    default_mode: Literal["retrieve", "generate"] = Field(
        description="The mode of /v1/captions unless one is given.", examples=["retrieve"]
    )
    modes: list[Literal["retrieve", "generate"]] = Field(
        description="The modes which work with this bundle.", examples=[["retrieve"]]
    )


class Info(Output):
    """Everything about a running service."""

    name: Literal["visem"] = Field("visem", description="What this service is.", examples=["visem"])
    version: str = Field(description="Version of the service.", examples=["0.1.0"])
    space: SpaceInfo = Field(description="The joint space.", examples=[{"name": "visem-flickr8k-lite2"}])
    library: LibraryInfo = Field(description="The library.", examples=[{"images": 8000, "sentences": 40_000}])
    limits: LimitsInfo = Field(description="Limits of requests.", examples=[{"max_files": 256}])
    captions: CaptionInfo = Field(description="Ways to caption.", examples=[{"default_mode": "retrieve"}])


class Health(Output):
    """The answer to a health check."""

    status: Literal["ok"] = Field("ok", description="Always ok: failures are problems.", examples=["ok"])


class ProblemDescription(Output):
    """What a problem code means."""

    code: str = Field(description="The stable code.", examples=["degenerate_query"])
    status: int = Field(description="The HTTP status that comes with it.", examples=[422])
    title: str = Field(description="The title that comes with it.", examples=["Degenerate query"])
    meaning: str = Field(description="What it means.", examples=["The terms of the query cancel each other out."])


class ProblemDocument(Output):
    """An error as RFC 9457 defines it. Some codes add members: `errors`, `column`, `unknown_words`, ..."""

    type: str = Field(description="Path of the description of the code.", examples=["/problems/degenerate_query"])
    title: str = Field(description="Summary of the code.", examples=["Degenerate query"])
    status: int = Field(description="The HTTP status.", examples=[422])
    code: str = Field(description="The stable code, for programs.", examples=["degenerate_query"])
    detail: str = Field(
        description="What is wrong and what to do.",
        examples=["The terms of the query cancel each other out. Change a term or its weight."],
    )
    instance: str = Field(
        description="Id of the request, as in X-Request-ID.", examples=["2b6fe1d54f8d4dd7a8bcd3ca2b30ad8f"]
    )
