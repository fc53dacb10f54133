"""The timeline: all photographs by when they were taken, month by month, as far as one scrolls."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.dependencies import ServiceDep
from app.web.deletions import Deletions
from app.web.photo_ranges import month_name, month_url
from app.web.rendering import address, render
from app.web.tiles import Tile, photograph_tiles
from app.web.view import View
from index import ImageRecord, Order

PAGE_SIZE = 60
"""Photographs at a time."""

_UNDATED = "undated"

router = APIRouter(prefix="/timeline")


@dataclass(frozen=True)
class MonthGroup:
    """Photographs of one month that stand together. Without a heading they go on with the group before."""

    id: str
    heading: str | None
    tiles: list[Tile]


@dataclass(frozen=True)
class MonthLink:
    """A month in the index of the timeline: how many photographs it has, and where they are."""

    name: str
    year: int
    count: int
    url: str


@router.get("")
def timeline_page(request: Request, service: ServiceDep) -> Response:
    """The page with its first photographs, and all months there are."""
    months = [
        MonthLink(month_name(one.year, one.month), one.year, one.count, month_url(View(), one.year, one.month))
        for one in service.months()
    ]
    years = [(year, list(links)) for year, links in groupby(months, lambda one: one.year)]
    return render(request, "timeline.html", years=years, unread=service.unread_facts(), **_stretch(request, service))


@router.get("/more")
def more(request: Request, service: ServiceDep, cursor: str, month: str = "") -> Response:
    """The photographs that follow, for a page that is there already and ends in this month."""
    return render(request, "timeline_more.html", **_stretch(request, service, cursor, month))


def _stretch(request: Request, service: ServiceDep, cursor: str | None = None, month: str = "") -> dict[str, Any]:
    """What the templates show: groups of photographs, and the address of those that follow."""
    page = service.list_images(cursor, PAGE_SIZE, order=Order("taken"))
    deletions: Deletions = request.app.state.deletions
    leave_out = deletions.ids()
    groups: list[MonthGroup] = []
    for key, records in groupby(page.items, _month):
        heading = None if key == month else _heading(key)
        groups.append(MonthGroup(key, heading, photograph_tiles(list(records), leave_out)))
        month = key
    following = None
    if page.next_cursor is not None:
        following = address("/timeline/more", [("cursor", page.next_cursor), ("month", month)])
    return {"groups": groups, "next_url": following}


def _month(record: ImageRecord) -> str:
    taken = record.facts.taken
    return _UNDATED if taken is None else f"{taken.year:04}-{taken.month:02}"


def _heading(key: str) -> str:
    return "Without a date" if key == _UNDATED else month_name(int(key[:4]), int(key[5:]))
