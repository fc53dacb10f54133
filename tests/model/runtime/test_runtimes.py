"""Both runtimes give the same numbers, and serving on a CPU needs but one of them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle
from model.captioner import Captioner
from model.captioner.scnlm import LanguageModel
from model.captioner_config import CAPTIONER, CaptionerConfig, ScnlmConfig
from model.errors import BundleError, DeviceMissingError
from model.runtime.factory import open_runtime
from model.runtime.networks import WEIGHTS
from model.runtime.onnx_runtime import OnnxNetwork
from model.space import JointSpace
from model.towers.factory import build_towers
from tests.tiny import write_bundle


@pytest.fixture(scope="module", autouse=True)
def _imports() -> None:
    """Not at the top: every worker of pytest-xdist imports this file, and torch takes seconds."""
    global StructureContentModel, TorchRuntime, gpu_is_there, load_file, save_file, torch, write_graphs
    import torch
    from safetensors.torch import load_file, save_file

    from model.runtime.torch_runtime import TorchRuntime, gpu_is_there
    from model.runtime.torch_scnlm import StructureContentModel
    from model.training.graphs import write_graphs


PHOTOS = Path(__file__).parents[2] / "fixtures" / "photos"
Context = Literal["lstm", "log-bilinear"]
TEXTS = (
    "a dog runs through the snow",
    "lighthouse",
    "two men in red shirts play football on a green field",
    "espresso",
    "a woman with a typewriter sits by a window and a child in a blue coat stands behind her",
    "dog",
)


@pytest.fixture(scope="module")
def space(shipped_space: JointSpace) -> JointSpace:
    return shipped_space


@pytest.fixture(scope="module")
def by_torch(space: JointSpace) -> JointSpace:
    """The shipped space in torch: what a GPU runs."""
    runtime = TorchRuntime("cpu")
    return JointSpace(space.bundle, *build_towers(space.bundle, runtime), runtime)


def test_images_have_the_same_vectors(space: JointSpace, by_torch: JointSpace, photos: dict[str, bytes]) -> None:
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in photos.values()]
    np.testing.assert_allclose(space.embed_images(images), by_torch.embed_images(images), atol=1e-4)


def test_texts_have_the_same_vectors(space: JointSpace, by_torch: JointSpace) -> None:
    for encoder in space.text.encoders:
        ours, theirs = (one.embed_texts(TEXTS, encoder) for one in (space, by_torch))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(space.embed_operands(TEXTS), by_torch.embed_operands(TEXTS), atol=1e-5)


def test_arithmetic_and_names_are_the_same(space: JointSpace, by_torch: JointSpace) -> None:
    (dog,) = space.embed_texts(["a black dog on the beach"])
    terms = [(dog, 1.0, "image"), ("black", -1.0, "text"), ("brown", 1.0, "text")]
    ours, theirs = (one.compose(terms) for one in (space, by_torch))  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    vectors = space.embed_texts(TEXTS)
    named, also = (one.nearest_words(vectors, 5) for one in (space, by_torch))
    assert [[word for word, _ in row] for row in named] == [[word for word, _ in row] for row in also]


def test_captions_are_the_same(space: JointSpace, by_torch: JointSpace, photos: dict[str, bytes]) -> None:
    vectors = space.embed_images([Image.open(io.BytesIO(photos[name])).convert("RGB") for name in ("cat", "coffee")])
    ours, theirs = Captioner(space), Captioner(by_torch)
    for asked in ({}, {"structure": "a man is riding a brown horse"}, {"strategy": "sample", "seed": 4}):
        first, second = (one.caption(vectors, 5, **asked) for one in (ours, theirs))  # type: ignore[arg-type]
        assert [[one.text for one in own] for own in first] == [[one.text for one in own] for own in second]
        for own, other in zip(first, second, strict=True):
            assert [one.score for one in own] == pytest.approx([one.score for one in other], abs=1e-3)


@pytest.mark.parametrize("context", ["lstm", "log-bilinear"])
def test_the_language_model_is_the_same_in_either_form(
    tmp_path: Path, context: Literal["lstm", "log-bilinear"]
) -> None:
    torch.manual_seed(4)
    folder = write_bundle(tmp_path / "bundle")
    sizes = ScnlmConfig(
        context=context,
        words=11,
        tags=6,
        content_dimension=48,
        word_dimension=5,
        attribute_dimension=4,
        factors=7,
        hidden_dimension=6,
        context_words=3,
        structure_window=2,
    )
    module = StructureContentModel(sizes).eval().requires_grad_(False)
    weights = {f"network.{name}": tensor.contiguous() for name, tensor in module.state_dict().items()}
    save_file(weights, folder / CAPTIONER)
    config = Bundle.load_config(folder).model_copy(update={"captioner": CaptionerConfig(network=sizes, images=1)})
    write_graphs(folder, config)
    network = OnnxNetwork(folder / "captioner.onnx", folder / CAPTIONER, WEIGHTS["captioner"][1])
    content, bias = module.content.weight.numpy(), module.content.bias.numpy()
    contents = torch.nn.functional.normalize(torch.randn(3, 48), dim=1)
    words, windows = torch.tensor([[0, 4, 5, 6]] * 3), torch.randint(0, 6, (3, 4, 2))
    expected = module(words, windows, contents).log_softmax(dim=-1).numpy()
    for one in (network, TorchRuntime("cpu").load(Bundle(folder, config), "captioner")):
        model = LanguageModel(sizes, one, content, bias)
        state, projected = model.start(3), model.project(contents.numpy())
        for place in range(4):
            log_p, state = model.step(words[:, place].numpy(), windows[:, place].numpy(), projected, state)
            np.testing.assert_allclose(log_p, expected[:, place], atol=1e-5)


def test_serving_on_a_cpu_imports_no_torch() -> None:
    code = """
import sys
from pathlib import Path
from PIL import Image
from model.captioner import Captioner

captioner = Captioner.load(device="cpu")
space = captioner.space
images = space.embed_images([Image.open(sys.argv[1]).convert("RGB")])
space.embed_texts(["a cat in the snow", "typewriter"])
space.nearest_words(images, 3)
space.compose([(images[0], 1.0, "image"), ("black", -1.0, "text"), ("brown", 1.0, "text")])
assert captioner.caption(images, 3)[0]
assert captioner.caption(images, 3, strategy="sample")[0]
print(sorted({"torch", "torchvision", "timm"} & sys.modules.keys()))
"""
    command = [sys.executable, "-W", "error", "-c", code, str(PHOTOS / "cat.jpg")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    assert (result.returncode, result.stdout) == (0, "[]\n"), result.stderr


def test_a_gpu_that_is_not_there() -> None:
    if gpu_is_there():
        pytest.skip("there is a GPU")
    assert open_runtime("auto").device == "cpu"
    with pytest.raises(DeviceMissingError, match=r"no cuda:1.*VISEM_DEVICE"):
        open_runtime("cuda:1")


def test_a_gpu_without_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    code = "from model.runtime.factory import open_runtime\nopen_runtime('cuda')"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert "needs the package torch" in result.stderr
    assert "`make serve DEVICE=cuda`" in result.stderr


def test_a_graph_that_does_not_fit_its_weights(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    other = write_bundle(tmp_path / "other", "a caption of quite other words than those of the first bundle")
    (folder / "lstm.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"lstm\.onnx"):
        OnnxNetwork(folder / "lstm.onnx", other / "encoders.safetensors", ("text.lstm.",))


def test_a_weight_that_is_not_there_is_not_read_from_whatever_lies_in_its_place(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    weights = load_file(folder / "encoders.safetensors")
    del weights["text.lstm.output.weight"]
    save_file(weights, folder / "encoders.safetensors")
    with pytest.raises(BundleError, match=r"lstm\.onnx does not fit"):
        OnnxNetwork(folder / "lstm.onnx", folder / "encoders.safetensors", ("text.lstm.",))
