"""The paper's own queries as a page to look at: photograph, expression, and the first five answers.

The page holds photographs of the set, so it must not be handed on where the set's terms forbid that.
"""

from __future__ import annotations

import base64
import io
from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.data.datasets import CaptionDataset
from model.images.decoding import decode_image
from model.space import JointSpace
from model.words import tokenise

Vectors = npt.NDArray[np.float32]


class PaperQuery(NamedTuple):
    """What is exchanged, and what a photograph must mention to be asked about."""

    old: str
    new: str
    phrase: str


QUERIES = (
    PaperQuery("dog", "cat", "dog"),
    PaperQuery("cat", "dog", "cat"),
    PaperQuery("plane", "bird", "plane"),
    PaperQuery("man", "woman", "man"),
    PaperQuery("blue", "red", "blue car"),
    PaperQuery("blue", "red", "blue shirt"),
    PaperQuery("blue", "yellow", "blue"),
    PaperQuery("yellow", "red", "yellow"),
    PaperQuery("white", "red", "white"),
    PaperQuery("black", "brown", "black dog"),
    PaperQuery("day", "night", "day"),
    PaperQuery("flying", "sailing", "flying"),
    PaperQuery("bowl", "box", "bowl"),
    PaperQuery("box", "bowl", "box"),
    PaperQuery("grass", "snow", "dog grass"),
)
PHOTOGRAPHS = 2
"""How many photographs each query is asked about."""
ANSWERS = 5
_SIDE = 180
_STYLE = (
    "body{font:15px sans-serif;margin:2em}figure{display:inline-block;margin:4px;text-align:center}"
    "img{height:130px}figcaption{font-size:12px;color:#555;max-width:180px}h2{font-size:1em;margin:1.5em 0 .3em}"
    ".asked img{outline:3px solid #1b6ca8}"
)


def paper_page(space: JointSpace, images: Vectors, dataset: CaptionDataset) -> str:
    """One self-contained HTML page. `images` (n, D) are the vectors of the dataset's photographs, in its order.

    A query that no photograph of the set fits, or with a word that the model does not know, is named as left out.
    """
    said = [frozenset(word for caption in item.captions for word in tokenise(caption)) for item in dataset.items]
    sections = []
    for query in QUERIES:
        wanted = set(query.phrase.split())
        fitting = [row for row, words in enumerate(said) if wanted <= words and query.new not in words]
        unknown = [word for word in (query.old, query.new) if space.unknown_words(word)]
        title = f"{query.phrase}: photograph - {query.old} + {query.new}"
        if unknown or not fitting:
            why = f"the model does not know {', '.join(unknown)}" if unknown else "no photograph mentions it"
            sections.append(f"<h2>{escape(title)}</h2><p>Left out: {escape(why)}.</p>")
            continue
        for row in fitting[:: max(1, len(fitting) // PHOTOGRAPHS)][:PHOTOGRAPHS]:
            vector = space.compose([(images[row], 1.0, "image"), (query.old, -1.0, "text"), (query.new, 1.0, "text")])
            scores = images @ vector
            scores[row] = -np.inf
            answers = np.argsort(-scores, kind="stable")[:ANSWERS].tolist()
            figures = [_figure(dataset, row, "asked"), *(_figure(dataset, answer, "") for answer in answers)]
            sections.append(f"<h2>{escape(title)}</h2>{''.join(figures)}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(space.name)}</title>'
        f"<style>{_STYLE}</style><h1>Arithmetic on {escape(dataset.name)} {escape(dataset.split)}</h1>"
        f"<p>{escape(space.name)}. Framed: the photograph of the query. Beside it the first {ANSWERS}.</p>"
        f"{''.join(sections)}</html>\n"
    )


def _figure(dataset: CaptionDataset, row: int, kind: str) -> str:
    item = dataset.items[row]
    image = decode_image(item.path.read_bytes(), hint_side=_SIDE).image
    image.thumbnail((2 * _SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    picture = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    return f'<figure class="{kind}">{picture}<figcaption>{escape(item.captions[0])}</figcaption></figure>'
