"""What the folder of a library holds, by name."""

CATALOG_FILE = "catalog.sqlite"
"""The catalog, unless it is in PostgreSQL."""
