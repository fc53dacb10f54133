"""The pages: server-rendered HTML on the same service functions as the JSON API."""

from __future__ import annotations

from fastapi import Depends, FastAPI

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
from app.web.error_pages import install as install_errors
from app.web.rendering import Renderer


def install(app: FastAPI) -> None:
    """Add the pages, what they load, and HTML errors for browsers. They are no part of the OpenAPI document."""
    app.state.renderer = Renderer(assets.load())
    for module in (assets, sign_in):
        app.include_router(module.router, include_in_schema=False)
    for module in (search, timeline, thumbnails, photograph, image_captions, add, sources, map, model):
        app.include_router(module.router, include_in_schema=False, dependencies=[Depends(sign_in.signed_in)])
    install_errors(app)
