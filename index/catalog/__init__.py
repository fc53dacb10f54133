"""The catalog: every record and every vector, the one source of truth of a library."""

from index.catalog.catalog import open_catalog
from index.catalog.copying import StoredFiles, copy_catalog
from index.catalog.sqlite import default_url

__all__ = ["StoredFiles", "copy_catalog", "default_url", "open_catalog"]
