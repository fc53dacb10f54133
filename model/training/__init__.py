"""Training of bundles: `space/`, then `fitting/`, then `captioner/`; `presets/` names sets of settings.

Needs the extra `train`. Serving imports nothing of it.
"""
