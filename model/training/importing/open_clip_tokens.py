"""CLIP's own byte pair encoding, out of the word pieces that open_clip comes with, as a `tokenizer.json`."""

from __future__ import annotations

from functools import cache

import regex
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.processors import TemplateProcessing

_LAST = 0x10FFFF


def _characters(kind: str) -> str:
    """The ranges of a class of characters, in either case.

    They are written out: what is a letter depends on a library's version of Unicode, and on what it takes for the other
    case of a character.
    """
    everything = "".join(map(chr, range(_LAST + 1)))
    runs = regex.finditer(f"{kind}+", everything, regex.IGNORECASE)
    return "".join(f"\\x{{{run.start():x}}}-\\x{{{run.end() - 1:x}}}" for run in runs)


@cache
def _words() -> str:
    """The expression of `SimpleTokenizer`, without its marks."""
    letters, numbers, others = (_characters(kind) for kind in (r"[\p{L}]", r"[\p{N}]", r"[^\s\p{L}\p{N}]"))
    return f"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[{letters}]+|[{numbers}]|[{others}]+"


def clip_tokenizer() -> Tokenizer:
    """Equal to `open_clip.tokenizer.SimpleTokenizer` on cleaned texts, but for its marks written out in a text."""
    known = SimpleTokenizer()
    tokenizer = Tokenizer(
        BPE(vocab=known.encoder, merges=list(known.bpe_ranks), end_of_word_suffix="</w>", fuse_unk=False)
    )
    tokenizer.pre_tokenizer = Sequence(
        [
            Split(Regex(_words()), behavior="removed", invert=True),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    begin, end = (known.decoder[number] for number in (known.sot_token_id, known.eot_token_id))
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in (begin, end)])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A {end}",
        special_tokens=[(begin, known.sot_token_id), (end, known.eot_token_id)],
    )
    return tokenizer
