"""The catalog: every record and every vector, the one source of truth of a library."""

from index.catalog.catalog import open_catalog
from index.catalog.copying import copy_catalog
from index.catalog.sqlite import default_url

__all__ = ["copy_catalog", "default_url", "open_catalog"]
