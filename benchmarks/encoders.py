"""Imported encoders at full size with random weights: parity with open_clip, and speed against it in one run.

    .venv/bin/python benchmarks/encoders.py ViT-B-32 MobileCLIP-S1 --speed ViT-B-32

Random weights say nothing of quality, and what int8 costs with them is not what it costs with trained ones; speed and
the agreement of two implementations do not depend on weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from model import threads
from model.runtime.onnx_runtime import OnnxRuntime
from model.training.importing.open_clip import read_open_clip
from model.training.importing.parity import sample_pictures
from model.training.importing.writing import TEXTS, in_precision, write_imported

ROUNDS = 5
IMAGES = 16
REPEATS = (1, 10)
"""Runs over the images, and over the text, in each round."""


def measure(name: str, tokenizer: Path | None, *, speed: bool) -> dict[str, object]:
    """Parity of a model, and how long each way takes for images and texts: on the clock, and of the processor.

    Beside other jobs only the processor's time can be compared; it counts what threads burn while they wait, too.
    """
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        weights, out = Path(folder) / "weights.safetensors", Path(folder) / "bundle"
        network = open_clip.create_model(name, pretrained_text=False)
        save_file({key: value.contiguous().clone() for key, value in network.state_dict().items()}, weights)
        del network
        source = read_open_clip(name, weights, tokenizer)
        config, parity = write_imported(source, out)
        result: dict[str, object] = {"model": name, **asdict(parity)}
        if not speed:
            return result
        torch.set_num_threads(threads.available())
        spaces = {precision: in_precision(out, config, precision) for precision in ("fp32", "int8")}
        pixels = source.image.reference((sample_pictures() * IMAGES)[:IMAGES])
        tokens = source.text.reference(TEXTS[:1])
        array = pixels.numpy()
        networks = {precision: OnnxRuntime().load(space.bundle, "image_encoder") for precision, space in spaces.items()}
        ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "open_clip": (lambda: source.image.whole(pixels), lambda: source.text.whole(tokens))
        }
        for precision, space in spaces.items():
            network = networks[precision]
            ways[precision] = (
                lambda network=network: network(array),
                lambda space=space: space.embed_texts(TEXTS[:1]),
            )
        taken: dict[str, list[list[tuple[float, float]]]] = {way: [[], []] for way in ways}
        with torch.inference_mode():
            for _ in range(ROUNDS):
                for way, works in ways.items():
                    for kind, work in enumerate(works):
                        work()  # the threads of the one before still wait for work, and take time from this one
                        for _ in range(REPEATS[kind]):
                            begin = time.perf_counter(), time.process_time()
                            work()
                            taken[way][kind].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
        for way, (images, texts) in taken.items():
            wall, processor = (statistics.median(one) for one in zip(*images, strict=True))
            wall_text, processor_text = (statistics.median(one) for one in zip(*texts, strict=True))
            result[way] = {
                "images_per_second": round(IMAGES / wall, 1),
                "cpu_ms_per_image": round(1000 * processor / IMAGES, 1),
                "ms_per_text": round(1000 * wall_text, 1),
                "cpu_ms_per_text": round(1000 * processor_text, 1),
            }
        return result


def main() -> None:
    """Print one JSON document a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["ViT-B-32"])
    parser.add_argument("--speed", nargs="*", default=[], help="models whose speed is measured")
    parser.add_argument("--tokenizer", type=Path, help="folder with tokenizer.json, for models that need one")
    chosen = parser.parse_args()
    for name in chosen.models:
        document = measure(name, chosen.tokenizer, speed=name in chosen.speed)
        print(json.dumps(document), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
