"""The HTTP API: routes and schemas, and what only HTTP needs."""
