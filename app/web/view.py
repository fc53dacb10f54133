"""What a search page shows, as its address says it: the address is the one place where a search is remembered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from starlette.requests import Request

from app.http.dependencies import FILTER_PREFIX, read_filters
from app.http.problem_responses import invalid_field
from app.photo_filters import PARSERS, FilterError, photo_filter
from app.web.rendering import address
from index import PhotoFilter, Target


@dataclass(frozen=True)
class View:
    """A search: expression, dropped picture (its token), what to find, how sure, metadata and photograph filters.

    `photo` has the texts that ask for times, cameras and places, by the names of `app.photo_filters.PARSERS`.
    """

    q: str = ""
    picture: str | None = None
    target: Target = "images"
    min_confidence: float = 0.0
    filters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    photo: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, request: Request) -> View:
        """Read the address; what it does not understand there it leaves out, but Problem for bad filters."""
        parameters = dict(request.query_params)
        return cls(
            q=" ".join(parameters.get("q", "").split()),
            picture=parameters.get("picture") or None,
            target="sentences" if parameters.get("target") == "sentences" else "images",
            min_confidence=_share(parameters.get("min_confidence", "")),
            filters=read_filters(parameters),
            photo={name: parameters[name] for name in PARSERS if parameters.get(name, "").strip()},
        )

    @property
    def is_search(self) -> bool:
        """Whether something is looked for, rather than everything shown."""
        return bool(self.q or self.picture)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query parameters, without what is as usual."""
        found: list[tuple[str, str]] = []
        if self.q:
            found.append(("q", self.q))
        if self.picture:
            found.append(("picture", self.picture))
        if self.target != "images":
            found.append(("target", self.target))
        if self.min_confidence:
            found.append(("min_confidence", f"{self.min_confidence:g}"))
        found += [(f"{FILTER_PREFIX}{key}", value) for key, value in self.filters.items()]
        return found + list(self.photo.items())

    def finding(self, target: Target) -> View:
        """The same search for photographs, or for sentences."""
        return replace(self, target=target)

    def without(self, key: str) -> View:
        """The same search without a metadata filter."""
        return replace(self, filters={name: value for name, value in self.filters.items() if name != key})

    def taken(self, **texts: str) -> View:
        """The same search with these demands on photographs instead of its own of the same names; "" for none."""
        return replace(self, photo={name: text for name, text in {**self.photo, **texts}.items() if text})

    @property
    def is_narrowed(self) -> bool:
        """Whether there are filters of any kind."""
        return bool(self.filters or self.photo)

    def photo_filter(self) -> PhotoFilter:
        """What is asked of photographs; Problem invalid_request."""
        try:
            return photo_filter(**self.photo)
        except FilterError as error:
            raise invalid_field(error.field, str(error)) from None

    def url(self) -> str:
        """The address of the page."""
        return address("/", self.parameters)

    def results_url(self, cursor: str) -> str:
        """The address of the hits after a cursor."""
        return address("/results", [*self.parameters, ("cursor", cursor)])


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
