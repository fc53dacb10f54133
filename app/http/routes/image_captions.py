"""The captions of a stored image: which sentences describe it, and who says so."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from app.http import responses
from app.http.dependencies import ServiceDep
from app.http.schemas.base import EXAMPLE_ID
from app.http.schemas.captions import ImageCaptions, OwnCaptions
from index import CaptionOrigin

router = APIRouter(prefix="/v1/images/{image_id}/captions", tags=["captions"])

ImageId = Annotated[str, Path(description="Id of the image.", examples=[EXAMPLE_ID])]

OriginQuery = Annotated[
    CaptionOrigin | None,
    Query(
        description="captioner: only those that the captioner wrote; user: only people's own.", examples=["captioner"]
    ),
]


@router.get("", summary="The captions of an image")
def list_captions(image_id: ImageId, service: ServiceDep) -> ImageCaptions:
    """All stored captions of an image: people's own in their order, then those of the captioner, best first.

    Those of the captioner are written in the background, so a new image may have none yet.
    """
    return responses.image_captions(service.image_captions(image_id))


@router.put("", summary="Set people's own captions of an image")
def set_captions(image_id: ImageId, body: OwnCaptions, service: ServiceDep) -> ImageCaptions:
    """Make these texts, in this order, people's own captions of the image; an empty list leaves none.

    Idempotent: it says what is to be, not what is to change. Captions of the captioner stay, but for one with the same
    text, which is people's own then. Each text is stored as a sentence, too, and stays one when it is no caption any
    more. If the model knows no word of one of them nothing is changed, and the answer is the problem
    `sentences_rejected` (422).
    """
    return responses.image_captions(service.set_captions(image_id, body.captions))


@router.delete("", status_code=204, response_class=Response, summary="Delete the captions of an image")
def delete_captions(image_id: ImageId, service: ServiceDep, origin: OriginQuery = None) -> None:
    """Delete all captions of an image, or those of one origin.

    A sentence that the captioner wrote goes with the last image that it is a caption of. People's own sentences stay:
    delete them under /v1/sentences.
    """
    service.delete_captions(image_id, origin)
