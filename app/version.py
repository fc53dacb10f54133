"""The version of the service: the build takes it from here (`pyproject.toml`).

Asking the installed distribution would cost every command 40 ms.
"""

VERSION = "0.1.0"
