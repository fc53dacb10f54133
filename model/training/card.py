"""The model card of a bundle, written from its configuration and its measured figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from model.bundle import BundleConfig
from model.captioner_config import CaptionerConfig
from model.concepts_config import ConceptsConfig
from model.towers.config import ImageConfig, TextConfig
from model.towers.imported_config import ImportedImageConfig
from model.training.presets import PRESETS

_FLICKR8K_TERMS = """\
Flickr8k (Hodosh, Young, Hockenmaier, *Framing Image Description as a Ranking Task*, JAIR 47, 2013). The photographs
belong to their owners on Flickr; the set is for non-commercial research and education. This bundle holds weights and a
word list; no photograph and no caption of the set is in it. Whoever uses it commercially should train on a set whose
terms allow that: the command below is all it takes."""

_TEACHERS = """ The
codes of words are vectors of all-MiniLM-L6-v2 (Apache-2.0); in training the sentence encoders also learned to tell its
vectors of the captions. That model itself is not in this bundle."""
_KINDS = """ The
classifier of the backbone's pre-training (the thousand kinds of things of ImageNet) is a part of the image encoder, and
texts that name such a kind lean to what images of it look like."""

_WORDS_LIMIT = """\
It was trained on photographs of people, dogs, sports, streets and landscapes, as amateurs take them, in plain English;
of other things it knows what the pre-training of its parts left in them, which is names rather than relations. Words
outside the list are reported, not guessed. It repeats what its annotators saw, their assumptions about people included:
do not use it to judge anybody."""
_IMPORTED_LIMIT = """\
Those of the model that it was imported from, which its own card should tell. Texts that are longer than its context are
cut off. Do not use it to judge anybody."""

_TEXT_TERMS = {
    "coco": "captions of COCO (Chen et al., *Microsoft COCO Captions*, 2015), CC BY 4.0",
    "flickr30k": "captions of Flickr30k (Young et al., TACL 2, 2014), for non-commercial research and education",
}
"""By the name of the file."""


def model_card(config: BundleConfig) -> str:
    """Markdown: what it is, data and terms, recipe and command, figures, limits, and the captioner if there is one."""
    terms = _FLICKR8K_TERMS if "flickr8k" in config.training_data.lower() else "See the set's own terms of use."
    known = _WORDS_LIMIT if isinstance(config.text, TextConfig) else _IMPORTED_LIMIT
    return f"""{_trained(config, terms) if isinstance(config.text, TextConfig) else _imported(config)}
## Figures

R@1 / R@5 / R@10 in percent, median rank; 1-based; image to sentence ranks the best of an image's captions.

| split | sentence encoder | image to sentence | sentence to image |
|---|---|---|---|
{_retrieval(config)}

Attribute swaps (*image - black + brown* over photographs of a noun with either), success at 1 / at 10 / how much of the
rest of the photograph the first answer keeps, in percent. The numbers of the rule of arithmetic were fitted on them.

| split | queries | arithmetic | the image alone | the text alone |
|---|---|---|---|---|
{_regularities(config)}

## Limits

{known}
{_concepts(config.concepts)}{_captions(config.captioner)}"""


def _trained(config: BundleConfig, terms: str) -> str:
    """What it is and whence, of a bundle whose encoders Visem trained."""
    image, text = config.image, config.words
    if isinstance(image, ImportedImageConfig):
        network, start = f"the image encoder of {config.recipe['image_tower']['origin']}", _frozen(config.recipe)
        views = ""
    else:
        several = "+" in image.backbone
        network = f"{image.backbone.replace('+', ' and ')} at\n{image.preprocessing.size} px"
        start = f"the {'backbones' if several else 'backbone'} started from {_start(config.recipe, several=several)}"
        views = "" if len(image.views) == 1 else f" {_views(image)}"
    teachers = _TEACHERS if text.code_dimension is not None else ""
    kinds = _KINDS if image.kinds else ""
    return f"""# {config.name}

A joint space of images and sentences with {config.dimension} dimensions: {network},
a linear projection, and the sentence encoders {", ".join(text.encoders)}
over {text.words:,} words. After Kiros, Salakhutdinov and Zemel, *Unifying Visual-Semantic Embeddings with
Multimodal Neural Language Models* (arXiv 1411.2539).{views}

## Data and terms

Trained on {config.training_data}; {start}.{teachers}{kinds}

{terms}

{_recipe(config.recipe) if config.recipe else ""}"""


def _imported(config: BundleConfig) -> str:
    """The same of one whose encoders came from another library."""
    rows = "\n".join(
        f"| {tower} | {cosines['fp32']:.6f} | {cosines['int8']:.6f} |"
        for tower, cosines in config.recipe["cosines"].items()
    )
    return f"""# {config.name}

A joint space of images and sentences with {config.dimension} dimensions, imported: {config.recipe["origin"]}.

## Data and terms

{config.training_data}

## Import

The lowest cosine between the bundle's vectors and those of the library that the encoders came from, on a few made-up
pictures and texts. A CPU runs {config.image.precision if isinstance(config.image, ImportedImageConfig) else "fp32"}.

| encoder | fp32 | int8 |
|---|---|---|
{rows}

"""


def _retrieval(config: BundleConfig) -> str:
    chosen = config.text.sentence_encoder if isinstance(config.text, TextConfig) else ""
    return "\n".join(
        f"| {name} | {encoder}{' (default)' if encoder == chosen else ''} "
        f"| {_scores(report['image_to_sentence'])} | {_scores(report['sentence_to_image'])} |"
        for name, quality in config.quality.items()
        for encoder, report in quality["retrieval"].items()
    )


def _regularities(config: BundleConfig) -> str:
    return "\n".join(
        f"| {name} | {quality['regularities']['queries']:,} | {_successes(quality['regularities'])} |"
        for name, quality in config.quality.items()
        if quality["regularities"]
    )


def _views(image: ImageConfig) -> str:
    """The views of an image, and what they cost."""
    views = image.views
    if len(image.backbones) > 1:
        return f"""Each of the
{len(views)} networks sees its own view of an image: {", ".join(views)} (the centre lacks a fourteenth of the width
and of the height on each side). Their features are joined before the projection. So an image costs a pass of each."""
    return f"""An image's vector is
the normalised mean of those of {len(views)} views: {", ".join(views)} (the centre lacks a fourteenth of the width and
of the height on each side). So an image costs {len(views)} passes of the network."""


def _start(recipe: dict[str, Any], *, several: bool) -> str:
    weights = recipe.get("backbone_weights")
    if weights is None:
        return f"{'their' if several else 'its'} published ImageNet weights\n(Apache-2.0)"
    return f"the weights in `{weights['file']}`\n(SHA-256 {weights['sha256']}), whose terms apply as well"


def _frozen(recipe: dict[str, Any]) -> str:
    tower = recipe["image_tower"]
    terms = f": {tower['terms']}" if tower["terms"] else ", which apply as well"
    return f"the image encoder is\nas it came, with its own terms of use{terms}"


def _recipe(recipe: dict[str, Any]) -> str:
    stages = "\n".join(
        f"| {stage['name']} | {stage['epochs']} | {stage['batch_images']} x {stage['captions_per_image']} "
        f"| {', '.join(stage['encoders'])} | {stage['learning_rate']:g} | {stage['backbone_learning_rate']:g} |"
        for stage in recipe["stages"]
    )
    preset = PRESETS.get(recipe["preset"])
    other = preset is not None and preset.space.backbone != recipe.get("backbone")
    backbone = f" --backbone {recipe['backbone']}" if other and "backbone" in recipe else ""
    if "image_tower" in recipe:
        backbone = " --image-tower DIR"
    if "backbone_weights" in recipe:
        backbone += f" --backbone-weights {recipe['backbone_weights']['file']}"
    texts = " --texts DIR" if "texts" in recipe else ""
    return f"""## Recipe

    visem train space --data DIR{texts} --preset {recipe["preset"]}{backbone} --seed {recipe["seed"]} --out BUNDLE

Loss: {recipe["loss"]}. The rest stands in `bundle.json`.{_history(recipe)}

| stage | epochs | batch (images x captions) | sentence encoders | rate | backbone's rate |
|---|---|---|---|---|---|
{stages}
{_student(recipe)}
"""


def _student(recipe: dict[str, Any]) -> str:
    """How the bundle's LSTM learned from the trained one, where it did."""
    if not (student := recipe.get("student")):
        return ""
    units, epochs, rate = student["lstm_dimension"], student["epochs"], student["learning_rate"]
    texts = recipe.get("texts", ())
    others = f"\nIt also learned from captions without their photographs:\n\n{_listed(texts)}\n" if texts else "\n"
    return f"""
The LSTM of these stages has {recipe["lstm_dimension"]} units. That of the bundle has {units}: it learned to
imitate the vectors of the captions, in {epochs} epochs, at a rate of {rate:g}.{others}"""


def _listed(sources: Iterable[str]) -> str:
    """Sets of captions and their terms."""
    return "\n".join(f"- {source}: {_TEXT_TERMS.get(source, 'see its own terms of use')}" for source in sources)


def _history(recipe: dict[str, Any]) -> str:
    """How the bundle came about where it is not what the command makes."""
    return f"\n\n{recipe['history']}" if "history" in recipe else ""


def _scores(scores: dict[str, float]) -> str:
    recalls = " / ".join(f"{scores[key]:.1f}" for key in ("r1", "r5", "r10"))
    return f"{recalls}, {scores['median_rank']:g}"


def _successes(report: dict[str, Any]) -> str:
    kinds = (report[kind] for kind in ("arithmetic", "image_only", "text_only"))
    keys = ("success_at_1", "success_at_10", "keeping_the_rest")
    return " | ".join(" / ".join(f"{scores[key]:.1f}" for key in keys) for scores in kinds)


def _concepts(section: ConceptsConfig | None) -> str:
    if section is None:
        return ""
    return f"""
## Concepts

Detectors of {len(section.words):,} words that captions of the training photographs say, and of {len(section.names):,}
kinds of things. Words are told by how near a photograph is to means of training photographs, some of them of one
photograph alone. The probabilities are fitted on the development split.
"""


def _others(sources: Sequence[str]) -> str:
    """Which texts without photographs the language model learned from, and their terms."""
    return f"""
The language model also learned from captions without their photographs, none of which is in this bundle:

{_listed(sources)}
"""


def _captions(section: CaptionerConfig | None) -> str:
    if section is None:
        return ""
    rows = []
    for split, figures in section.quality.items():
        rows.append((f"{split}, written", figures))
        baselines = figures.get("baselines", {})
        rows += [(f"{split}, {name.replace('_', ' ')}", scores) for name, scores in baselines.items()]
    table = "\n".join(
        f"| {name} | {scores['bleu1']:.1f} | {scores['bleu4']:.1f} | {scores['rouge_l']:.3f} | {scores['cider']:.3f} |"
        for name, scores in rows
    )
    preset = section.training.get("preset", "default")
    sources = section.training.get("sources", [])
    others = _others(sources) if sources else ""
    texts = " --texts DIR" if sources else ""
    return f"""
## Captions

A structure-content neural language model (context: {section.network.context}) of {section.network.words:,} words,
trained on the captions of {section.images:,} photographs; its candidates are ranked by weights fitted on the
development split. Words for kinds of things that no caption names are copies of the nearest noun: they are written
where a caption opens with the name of a thing that the image shows by itself.
{others}
    visem train captioner --data DIR{texts} --preset {preset} --model BUNDLE --seed {section.training["seed"]}

| split | BLEU-1 | BLEU-4 | ROUGE-L | CIDEr |
|---|---|---|---|---|
{table}
"""
