"""Encoders that other libraries trained, made into bundles (`visem import`). Needs the extra `clip`.

`open_clip.py` and `hugging_face.py` read what those libraries write; `writing.py` makes a bundle of it. Nothing is
downloaded, and nothing is unpickled beyond tensors.
"""
