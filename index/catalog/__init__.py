"""The catalog: every record and every vector, the one source of truth of a library."""

from index.catalog.catalog import open_catalog
from index.catalog.copying import copy_catalog
from index.catalog.sqlite import CATALOG_FILE, default_url

__all__ = ["CATALOG_FILE", "copy_catalog", "default_url", "open_catalog"]
