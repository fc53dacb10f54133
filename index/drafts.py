"""What users hand in, checked and made ready for the catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from index.concepts import checked_concepts
from index.interfaces import CaptionDraft, Draft
from index.metadata import ORIGIN, encode_metadata
from index.texts import checked_text
from index.types import CaptionOrigin, NewCaption, NewImage, NewSentence
from index.vector_encoding import unit_vector, unit_vectors


def image_drafts(images: Sequence[NewImage], dimension: int) -> list[Draft]:
    """Return the records to be of images, in order; InvalidVector, InvalidMetadata.

    A file name that is not valid Unicode (they exist on Linux) gets question marks for the bytes without a
    meaning.
    """
    return [
        Draft(
            name=image.sha256 or hashlib.sha256(image.content).hexdigest(),
            columns={
                "filename": None if image.filename is None else image.filename.encode("utf-8", "replace").decode(),
                "media_type": image.media_type,
                "width": image.width,
                "height": image.height,
                "size": len(image.content),
            },
            vector=vector,
            metadata=encode_metadata(image.metadata),
            concepts=checked_concepts(image.concepts),
            facts=image.facts,
            captions=image.captions,
            file=image.file,
        )
        for image, vector in zip(images, unit_vectors([image.vector for image in images], dimension), strict=True)
    ]


def sentence_drafts(sentences: Sequence[NewSentence], dimension: int) -> list[Draft]:
    """Return the records to be of sentences, in order; InvalidText, InvalidVector, InvalidMetadata."""
    vectors = unit_vectors([sentence.vector for sentence in sentences], dimension)
    return [
        Draft(
            name=checked_text(sentence.text),
            columns={"origin": None},
            vector=vector,
            metadata=encode_metadata(sentence.metadata),
        )
        for sentence, vector in zip(sentences, vectors, strict=True)
    ]


def caption_draft(caption: NewCaption, origin: CaptionOrigin, dimension: int) -> CaptionDraft:
    """Return the caption to be; InvalidText, InvalidVector. The sentence of a captioner tells its `origin`."""
    generated = origin == "captioner"
    sentence = Draft(
        name=checked_text(caption.text),
        columns={"origin": origin if generated else None},
        vector=unit_vector(caption.vector, dimension),
        metadata=encode_metadata({ORIGIN: origin} if generated else {}),
    )
    return CaptionDraft(sentence, caption.score)
