"""The command line `visem`: a command a module, over the same `Service` as HTTP.

Nothing heavy is imported before a command needs it: `visem --help` must not wait for torch.
"""

from app.cli.application import application, main

__all__ = ["application", "main"]
