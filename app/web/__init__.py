"""The pages: server-rendered HTML on the same service functions as the JSON API."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.routing import BaseRoute

from app.web import (
    add,
    assets,
    image_captions,
    map,
    model,
    photograph,
    search,
    sign_in,
    sources,
    thumbnails,
    timeline,
)


def page_routes() -> list[BaseRoute]:
    """The pages and what they load. They are no part of the OpenAPI document."""
    pages = APIRouter(include_in_schema=False)
    for module in (assets, sign_in):
        pages.include_router(module.router)
    for module in (search, timeline, thumbnails, photograph, image_captions, add, sources, map, model):
        pages.include_router(module.router, dependencies=[Depends(sign_in.signed_in)])
    return pages.routes
