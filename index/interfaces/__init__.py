"""The three parts of a library, each behind a narrow interface.

`Library` knows only these protocols, so that PostgreSQL, a distributed vector engine or object storage can
take the places of SQLite, FAISS and a directory. Two rules bind every implementation:

- *Keys ascend in commit order.* Whoever has seen key n has seen every record with a smaller key that still
  exists. (SQLite has one writer at a time, so AUTOINCREMENT keeps this; a PostgreSQL sequence alone would
  not.)
- *Deletions are a log.* Whoever remembers a `Position` can ask for everything that happened after it.
"""

from index.interfaces.catalog import Catalog
from index.interfaces.changes import CatalogState, ChangeBatch, ChangeFeed, GenerationChanged, Position
from index.interfaces.collection import CaptionDraft, Collection, Draft, Spot
from index.interfaces.content import ContentStat, ContentStore
from index.interfaces.leases import Leases
from index.interfaces.moving import MovingStore, Snapshot
from index.interfaces.relations import CaptionStore, PendingDeletions, PhotoStore, SourceStore
from index.interfaces.vectors import Nearest, VectorIndex, Where

__all__ = [
    "CaptionDraft",
    "CaptionStore",
    "Catalog",
    "CatalogState",
    "ChangeBatch",
    "ChangeFeed",
    "Collection",
    "ContentStat",
    "ContentStore",
    "Draft",
    "GenerationChanged",
    "Leases",
    "MovingStore",
    "Nearest",
    "PendingDeletions",
    "PhotoStore",
    "Position",
    "Snapshot",
    "SourceStore",
    "Spot",
    "VectorIndex",
    "Where",
]
