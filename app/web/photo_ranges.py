"""Times, cameras and places that a search is limited to, as chips; and times as people write them."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.photo_filters import parse_moment
from app.web.view import View


@dataclass(frozen=True)
class Range:
    """A limit of a search: what it says, and the search without it."""

    label: str
    remove: str


def ranges(view: View) -> list[Range]:
    """The limits of a search in words. What cannot be read stands as it is: the page says what is wrong with it."""
    photo = view.photo
    found: list[Range] = []
    after, before = photo.get("taken_after", ""), photo.get("taken_before", "")
    if after or before:
        found.append(Range(_span(after, before), view.taken(taken_after="", taken_before="").url()))
    if "camera" in photo:
        found.append(Range(photo["camera"], view.taken(camera="").url()))
    if "near" in photo:
        latitude, _, rest = photo["near"].partition(",")
        longitude, _, kilometres = rest.partition(",")
        found.append(Range(f"within {kilometres} km of {latitude}, {longitude}", view.taken(near="").url()))
    return found


@dataclass(frozen=True)
class Days:
    """The first and the last day of a search, as ISO dates; "" where it has no limit, or none in whole days."""

    first: str
    last: str


def days(view: View) -> Days:
    """The limits of a search as days, for the two fields of the page."""
    first = _midnight(view.photo.get("taken_after", ""))
    return Days(_iso(first) if first else "", _day_before(view.photo.get("taken_before", "")) or "")


def month_url(view: View, year: int, month: int) -> str:
    """The search within one month."""
    following = _after_month(year, month)
    return view.taken(
        taken_after=f"{year:04}-{month:02}", taken_before="" if following is None else following.isoformat()[:7]
    ).url()


def day_url(time: datetime) -> str:
    """All photographs of the day."""
    first = datetime(time.year, time.month, time.day)
    last = "" if first.date() == datetime.max.date() else (first + timedelta(days=1)).isoformat()[:10]
    return View().taken(taken_after=first.isoformat()[:10], taken_before=last).url()


def month_name(year: int, month: int) -> str:
    """`May 2024`."""
    return f"{calendar.month_name[month]} {year}"


def long_time(time: datetime) -> str:
    """`1 May 2024, 10:30`, with the offset where it is known."""
    offset = "" if time.tzinfo is None else f" ({time.isoformat()[-6:]})"
    return f"{time.day} {month_name(time.year, time.month)}, {time:%H:%M}{offset}"


def _span(after: str, before: str) -> str:
    whole = _whole(after, before)
    if whole is not None:
        return whole
    if not before:
        return f"from {_words(after)}"
    last = _day_before(before) if len(before.strip()) == 10 else None
    if last is not None:
        return f"from {_words(after)} to {_words(last)}" if after else f"until {_words(last)}"
    return f"from {_words(after)}, before {_words(before)}" if after else f"before {_words(before)}"


def _day_before(text: str) -> str | None:
    """The day before the one that a date names; None if it names none, or there is none before."""
    moment = _midnight(text)
    return None if moment is None or moment == datetime.min else _iso(moment - timedelta(days=1))


def _iso(day: datetime) -> str:
    return day.date().isoformat()


def _midnight(text: str) -> datetime | None:
    """The moment that a date names; None if it names none, or a time of a day."""
    try:
        moment = parse_moment(text)
    except ValueError:
        return None
    return moment if moment == datetime(moment.year, moment.month, moment.day) else None


def _whole(after: str, before: str) -> str | None:
    """One year, month or day by its name; None for any other span."""
    try:
        first, last = parse_moment(after), parse_moment(before)
    except ValueError:
        return None
    if first.tzinfo or last.tzinfo or first != datetime(first.year, first.month, first.day):
        return None
    if (first.month, first.day) == (1, 1) and last == _after_month(first.year, 12):
        return f"{first.year}"
    if first.day == 1 and last == _after_month(first.year, first.month):
        return month_name(first.year, first.month)
    return _words(first.isoformat()[:10]) if last - first == timedelta(days=1) else None


def _after_month(year: int, month: int) -> datetime | None:
    """The first moment after a month; None for the last one that there is."""
    if month < 12:
        return datetime(year, month + 1, 1)
    return datetime(year + 1, 1, 1) if year < datetime.max.year else None


def _words(text: str) -> str:
    try:
        time = parse_moment(text)
    except ValueError:
        return text
    match len(text.strip()):
        case 4:
            return f"{time.year}"
        case 7:
            return month_name(time.year, time.month)
        case 10:
            return f"{time.day} {month_name(time.year, time.month)}"
        case _:
            return long_time(time)
