"""Views of an image: its vector is the mean of what the network sees of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from safetensors.numpy import load_file

from model.bundle import Bundle, write_config
from model.space import JointSpace
from model.towers.backbone import BackboneTower, look
from model.towers.config import ENCODERS, ImageConfig, View
from tests.tiny import SIDE, write_bundle

ALL: tuple[View, ...] = ("whole", "centre", "whole mirrored", "centre mirrored")


def _picture(width: int = 448, height: int = 224) -> Image.Image:
    """Red on the left, blue on the right, in a white frame as wide as the centre leaves out."""
    picture = Image.new("RGB", (width, height), "white")
    left, top = round(width * 16 / 224), round(height * 16 / 224)
    picture.paste("red", (left, top, width // 2, height - top))
    picture.paste("blue", (width // 2, top, width - left, height - top))
    return picture


def test_what_each_view_shows() -> None:
    picture = _picture()
    assert look(picture, "whole") is picture
    centre = look(picture, "centre")
    assert centre.size == (448 - 64, 224 - 32)
    assert sorted(color for _, color in centre.getcolors() or []) == [(0, 0, 255), (255, 0, 0)]
    assert centre.getpixel((0, 0)) == (255, 0, 0)
    assert look(picture, "centre mirrored").getpixel((0, 0)) == (0, 0, 255)
    assert look(Image.new("RGB", (1, 1)), "centre").size == (1, 1)


def test_the_vector_is_the_normalised_mean_and_another_space(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    one = JointSpace.load(bundle, device="cpu")
    pictures = [_picture(), Image.new("RGB", (60, 40), "green")]
    seen = {view: one.embed_images([look(picture, view) for picture in pictures]) for view in ALL}
    for views in (ALL[:2], ALL):
        config = one.config.model_copy(update={"image": one.config.image.model_copy(update={"views": views})})
        write_config(bundle, config)
        several = JointSpace.load(bundle, device="cpu")
        total = sum(seen[view] for view in views)
        expected = total / np.linalg.norm(total, axis=1, keepdims=True)
        np.testing.assert_allclose(several.embed_images(pictures), expected, atol=1e-6)
        assert several.id != one.id
        assert several.image.size == int(np.ceil(SIDE * 7 / 6))
    assert several.embed_images([]).shape == (0, one.dimension)


def test_one_view_of_the_whole_is_the_space_of_before(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    before = Bundle.load(bundle).config
    assert before.image.views == ("whole",)
    assert "views" not in before.image.identity()
    assert JointSpace.load(bundle, device="cpu").image.size == SIDE


def test_joined_networks_each_look_at_a_view_of_their_own(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", views=("whole", "centre mirrored"))
    space = JointSpace.load(bundle, device="cpu")
    tower = space.image
    assert isinstance(tower, BackboneTower)
    assert tower.size == int(np.ceil(SIDE * 7 / 6))
    pictures = [_picture(), Image.new("RGB", (60, 40), "green")]
    one = JointSpace.load(write_bundle(tmp_path / "one"), device="cpu").image
    assert isinstance(one, BackboneTower)
    features = np.concatenate(
        [one.features([look(picture, view) for picture in pictures]) for view in tower.config.views], axis=1
    )
    np.testing.assert_allclose(tower.features(pictures), features, atol=1e-6)
    weights = load_file(bundle / ENCODERS)
    expected = features @ weights["image.linear.weight"].T + weights["image.linear.bias"]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(space.embed_images(pictures), expected, atol=1e-5)
    assert space.embed_images([]).shape == (0, space.dimension)
    swapped = space.config.image.model_copy(update={"views": ("centre mirrored", "whole")})
    assert space.config.model_copy(update={"image": swapped}).space_id != space.id


@pytest.mark.parametrize("views", [("whole",), ("whole", "centre", "whole mirrored")])
def test_joined_networks_need_a_view_each(tmp_path: Path, views: tuple[str, ...]) -> None:
    config = Bundle.load(write_bundle(tmp_path / "bundle", views=("whole", "whole"))).config.image.model_dump()
    with pytest.raises(ValidationError, match="2 networks look at one view each"):
        ImageConfig.model_validate(config | {"views": views})


@pytest.mark.parametrize("views", [(), ("whole", "whole"), ("upside down",)])
def test_views_that_make_no_sense(tmp_path: Path, views: tuple[str, ...]) -> None:
    config = Bundle.load(write_bundle(tmp_path / "bundle")).config.image.model_dump()
    with pytest.raises(ValidationError):
        ImageConfig.model_validate(config | {"views": views})
