"""Pixels and words in, vectors and captions out: the joint image-sentence space and its caption model.

Knows no HTTP, no vector index and no library; `app` sits on top of it.
"""
