"""Folders in place: what is in them, and what is being done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.http.schemas.base import EXAMPLE_ID, Input, Output
from app.http.schemas.records import Image

State = Literal["present", "missing", "refused", "skipped", "deleted"]


class SourceFiles(Output):
    """How many files of a source are in which state."""

    present: int = Field(0, description="Files that images were made of, and that are there.", examples=[7000])
    missing: int = Field(0, description="Files that are gone; their images are hidden.", examples=[2])
    refused: int = Field(0, description="Files that no image can be made of.", examples=[1])
    skipped: int = Field(0, description="Files without an ending that are no pictures.", examples=[0])
    deleted: int = Field(0, description="Files whose images somebody deleted; they are left alone.", examples=[0])


class SourceProgress(Output):
    """How far a pass is, or what the last one found; counted since the service started it."""

    phase: Literal["looking", "adding", "done", "stopped"] = Field(
        description="looking: the folder is listed; adding: files are read.", examples=["adding"]
    )
    seen: int = Field(description="Files that are there.", examples=[7000])
    done: int = Field(description="Files that were read.", examples=[1200])
    total: int = Field(description="Files that are to be read.", examples=[7000])
    rate: float = Field(description="Files read a second.", examples=[38.5])
    seconds_left: float | None = Field(
        description="Seconds it will take at this rate; null if unknown.", examples=[150]
    )
    unchanged: int = Field(description="Files that are as they were; none of them was opened.", examples=[5800])
    created: int = Field(description="New images.", examples=[1190])
    changed: int = Field(description="Images that got another content, since their file was changed.", examples=[4])
    recognised: int = Field(
        description="Files of content that the library had: moved ones, and further copies.", examples=[5]
    )
    returned: int = Field(description="Missing files that are back.", examples=[0])
    missing: int = Field(description="Images that went missing.", examples=[0])
    pruned: int = Field(description="Images that were deleted, since they had been missing for long.", examples=[0])
    refused: int = Field(description="Files that no image can be made of.", examples=[1])


class SourceInfo(Output):
    """A folder whose pictures stay where they are."""

    id: str = Field(description="Stable id.", examples=[EXAMPLE_ID])
    path: str = Field(description="The folder, on the machine of the service.", examples=["/photos"])
    state: Literal["new", "ready", "away"] = Field(
        description="new: never gone through to the end; away: it was not there the last time, and left as it is.",
        examples=["ready"],
    )
    paused: bool = Field(description="Whether it is left alone until it is resumed.", examples=[False])
    reason: str | None = Field(description="What is wrong with it; null if nothing is.", examples=[None])
    finished_at: datetime | None = Field(
        description="When it was last gone through, in UTC.", examples=["2025-06-01T12:00:00Z"]
    )
    files: SourceFiles = Field(description="Its files by state.", examples=[{"present": 7000}])
    at_work: bool = Field(description="Whether it is being gone through now.", examples=[True])
    progress: SourceProgress | None = Field(
        description="The pass under way, or the last one of this service; null if there was none.", examples=[None]
    )
    error: str | None = Field(description="Why the last pass failed; null if it did not.", examples=[None])
    watch_problem: str | None = Field(
        description="Why changes are noticed by the periodic pass only; null if they are noticed at once.",
        examples=[None],
    )


class SourceList(Output):
    """All sources."""

    items: list[SourceInfo] = Field(description="In the order in which they came.", examples=[[]])


class SourcePatch(Input):
    """What can be changed of a source."""

    paused: bool = Field(description="true: leave it alone; false: go on.", examples=[True])


class FileInSource(Output):
    """A file in a source."""

    source_id: str = Field(description="The source.", examples=[EXAMPLE_ID])
    path: str = Field(description="Its path below the folder; bytes that are no UTF-8 as `\\xe9`.", examples=["a.jpg"])
    state: State = Field(description="What became of it.", examples=["refused"])
    image_id: str | None = Field(description="The image that it is a file of.", examples=[None])
    code: str | None = Field(
        description="Why it was refused: a code of /problems, or `file_unreadable`.", examples=["image_truncated"]
    )
    reason: str | None = Field(
        description="Why it was refused, for people.", examples=["The image file ends too early."]
    )
    missing_since: datetime | None = Field(description="Since when its image is hidden.", examples=[None])


class ImageInPlaces(Image):
    """A stored image, and where it is."""

    files: list[FileInSource] = Field(description="Its files in folders in place; none if it is a copy.", examples=[[]])


class SourceFilePage(Output):
    """A page of files."""

    items: list[FileInSource] = Field(description="In the order of their paths.", examples=[[]])
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.", examples=["YS5qcGc"])
    total: int = Field(description="How many files are in this state.", examples=[1])


class SourceForgotten(Output):
    """What went with a source."""

    removed: int = Field(description="Images that were in it alone, and are deleted. No file is.", examples=[7000])
