"""Named sets of settings, one file each, for a joint space and for the captioner on it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from model.training.captioner.config import CaptionerTraining
from model.training.presets import default, paper, quick
from model.training.space.config import SpaceTraining


class Preset(BaseModel):
    """All settings of `visem train bundle`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: SpaceTraining
    captioner: CaptionerTraining


PRESETS: dict[str, Preset] = {
    "default": Preset(space=default.SPACE, captioner=default.CAPTIONER),
    "quick": Preset(space=quick.SPACE, captioner=quick.CAPTIONER),
    "paper": Preset(space=paper.SPACE, captioner=paper.CAPTIONER),
}
