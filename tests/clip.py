"""Tiny models of open_clip with random weights, and bundles made of them.

Only what is called imports torch, open_clip and transformers, which takes seconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

from model.towers.imported_config import Prompts
from tests.words import WORDS

VIT: dict[str, Any] = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def write_model(folder: Path, settings: dict[str, Any] = VIT, seed: int = 0) -> tuple[Path, Path]:
    """A configuration and weights as open_clip writes them: the two files."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    config, weights = folder / "tiny.json", folder / "weights.safetensors"
    config.write_text(json.dumps(settings))
    built = {name: value for name, value in settings.items() if name != "custom_text"}
    network = (open_clip.CustomTextCLIP if settings.get("custom_text") else open_clip.CLIP)(**built)
    save_file({name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}, weights)
    return config, weights


def write_clip(folder: Path) -> Path:
    """A bundle of the tiny ViT, with concepts and a prompt."""
    from model.training.importing.open_clip import read_open_clip
    from model.training.importing.writing import write_imported

    config, weights = write_model(folder.with_name("model"))
    words = list(dict.fromkeys(WORDS.split()))
    prompts = Prompts(operand=("a photo of a {}",))
    write_imported(read_open_clip(str(config), weights), folder, words=words, prompts=prompts)
    return folder


def write_clip_captioner(folder: Path) -> Path:
    """The same with a rule of arithmetic and a calibration fitted to it, and a captioner."""
    from model.data.datasets import load_dataset
    from model.evaluation.protocol import embed_photographs
    from model.space import JointSpace
    from model.training.captioner.train import train_captioner
    from model.training.fitting.fit import fit_to_space, store
    from tests.captioning import CAPTIONS, SMALL

    write_clip(folder)
    space = JointSpace.load(folder, device="cpu")
    train, dev = load_dataset(CAPTIONS, "train"), load_dataset(CAPTIONS, "dev")
    seen, images = (embed_photographs(space, split, lambda done, total: None) for split in (train, dev))
    fitted = fit_to_space(space, train, dev, seen, images)
    store(folder, fitted.within(space.config, "flickr8k-dev"), fitted.learned)
    work = folder.with_name(f"{folder.name}.work")
    train_captioner(CAPTIONS, folder, SMALL, work=work, report=lambda progress: None)
    return folder


def write_clip_folder(folder: Path) -> Path:
    """A tiny CLIP as transformers stores it, with CLIP's own words."""
    import torch
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    torch.manual_seed(0)
    words = SimpleTokenizer()
    tokenizer = CLIPTokenizer(
        vocab={_as_transformers(word): number for word, number in words.encoder.items()},
        merges=list(words.bpe_ranks),
    )
    tokenizer.model_max_length = 77
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 49408, "eos_token_id": 49407, "bos_token_id": 49406}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=48)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def write_siglip_folder(folder: Path) -> Path:
    """A tiny SigLIP as transformers stores it, with a few words of its own."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**sizes, "vocab_size": 300, "max_position_embeddings": 64, "projection_size": 32},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
    )
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    write_unigram(folder)
    return folder


def write_unigram(folder: Path) -> Path:
    """A tokenizer of pieces, in the way of SigLIP's."""
    letters = [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789,."]
    words = [(f"▁{word}", -2.0) for word in dict.fromkeys(WORDS.split())][:150]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), *letters, *words]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "SiglipTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _as_transformers(word: str) -> str:
    return {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}.get(word, word)
