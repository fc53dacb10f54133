"""Building the segments of a vector index: sealing what is new, merging, training, measuring.

One process at a time builds a collection: it holds a lock on a file, of which a kill lets go. Whatever it writes counts
from the moment at which the manifest names it, so a kill at any point leaves the index from before or after a step.
Nobody waits for it: followers keep what they have until there is a new manifest.

Records that are deleted meanwhile do no harm. A segment may hold a key that is gone, because whoever searches reads
the vectors of what it found from the catalog, and what is not there is no hit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.interfaces import Catalog, CatalogState, Collection, GenerationChanged
from index.types import Keys, Vectors
from index.vector_encoding import unit_rows
from index.vectors.faiss.codec import Codec, Encoded, joined, train, training_size
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.manifest import Manifest, QueryKind, SegmentEntry
from index.vectors.faiss.options import BuildOptions
from index.vectors.faiss.tuning import ExactAnswers, choose_probing

_log = logging.getLogger(__name__)

_STEP = 2048  # vectors in memory at a time
_PAUSE = 0.5  # seconds between two looks at whether somebody else is still building
_MOST_SEGMENTS = 8
_TIDY = 4  # times as large as all smaller ones together, a segment is left alone when nothing else is due
_PURGED_AT = 0.1  # a share of deleted records at which the segments are written without them
_RETRAINED_AT = 8  # times the size at which the codec was trained
_MEASURED_AT = 2  # times the size at which the recall was measured
_QUERIES = 256
_FEWEST_SENTENCES = 200


@dataclass(frozen=True)
class _Trained:
    """A new codec, the records as it encodes them, and a manifest that lacks only the files of both."""

    manifest: Manifest
    codec: Codec
    encoded: Encoded


class Builder:
    """Builds the index of one collection in its folder. For one thread."""

    def __init__(
        self,
        catalog: Catalog,
        collection: Collection[Any],
        folder: Path,
        options: BuildOptions | None = None,
        pace: Callable[[int], None] = lambda count: None,
    ) -> None:
        """`pace` hears, in whatever thread, how many vectors were encoded, and may take its time."""
        self._catalog = catalog
        self._collection = collection
        self._folder = IndexFolder(folder)
        self._options = options or BuildOptions()
        self._pace = pace
        self._pool = ThreadPoolExecutor(1, "visem-training")
        self._training: Future[_Trained] | None = None

    def close(self) -> None:
        """Wait for what is being trained, and forget it."""
        self._pool.shutdown()

    @property
    def is_training(self) -> bool:
        """Whether something is being trained in the background."""
        return self._training is not None

    def run(self) -> None:
        """Do all there is to do, if nobody else does."""
        with self._folder.lock() as held:
            while held and self.step(wait=True):
                pass

    def rebuild(self) -> None:
        """Train anew and encode everything, whatever there is, which serves until then. Waits for whoever builds."""
        while True:
            with self._folder.lock() as held:
                if held:
                    try:
                        if self._count() > self._options.exact_up_to:
                            self._train(self._catalog.state(), wait=True)
                        else:
                            self._folder.discard()
                        while self.step(wait=True):
                            pass
                        return
                    except GenerationChanged:  # all vectors are new
                        continue
            time.sleep(_PAUSE)

    def is_due(self) -> bool:
        """Tell, quickly, whether `step` may have something to do."""
        manifest, state = self._folder.manifest(), self._catalog.state()
        head = self._collection.head()
        if manifest is None or not manifest.is_of(state, self._collection):
            return manifest is not None or (
                head.key > self._options.exact_up_to and self._count() > self._options.exact_up_to
            )
        return (
            head.key - manifest.key >= self._options.seal_at
            or head.deletion - manifest.deletion > _PURGED_AT * manifest.count
            or len(manifest.segments) > _MOST_SEGMENTS
            or len(untidy(manifest.segments)) > 1
            or self._is_outgrown(manifest)
            or self._is_improvable(manifest, state)
        )

    def step(self, wait: bool = False) -> bool:
        """Do the most urgent thing; False if there is none. For whoever holds the lock.

        Training goes on in a thread, while new records are sealed as before; with `wait`, here and now.
        """
        try:
            return self._step(wait)
        except GenerationChanged:  # all vectors are new: what was begun is void
            self._training = None
            return True

    def tidy(self) -> None:
        """Merge small segments once nothing else is due: a search takes longer the more there are.

        For whoever holds the lock.
        """
        state, manifest = self._catalog.state(), self._folder.manifest()
        if manifest is None or self.is_training or not manifest.is_of(state, self._collection):
            return
        codec, chosen = self._folder.read_codec(manifest), untidy(manifest.segments)
        if codec is not None and len(chosen) > 1:
            self._merge(manifest, codec, chosen, purge=False)

    def _step(self, wait: bool) -> bool:
        state, manifest, head = self._catalog.state(), self._folder.manifest(), self._collection.head()
        codec = None
        if manifest is not None and manifest.is_of(state, self._collection):
            codec = self._folder.read_codec(manifest)
        if manifest is None or codec is None:
            self._folder.discard()
            if head.key <= self._options.exact_up_to or self._count() <= self._options.exact_up_to:
                self._folder.sweep(None)
                return False
            return self._train(state, wait)
        deleted = head.deletion - manifest.deletion
        if deleted and self._count() <= self._options.exact_up_to // 2:  # so few are searched exactly
            self._folder.discard()
            return True
        if head.key - manifest.key >= self._options.seal_at:
            return self._seal(manifest, codec)
        if deleted > _PURGED_AT * manifest.count:
            return self._merge(manifest, codec, manifest.segments, purge=True)
        if len(manifest.segments) > _MOST_SEGMENTS:
            return self._merge(manifest, codec, _smallest(manifest.segments), purge=False)
        if manifest.count > _RETRAINED_AT * manifest.trained_on or self._is_improvable(manifest, state):
            return self._train(state, wait)
        if self._is_outgrown(manifest):
            return self._measure(manifest, codec)
        return False

    def _is_outgrown(self, manifest: Manifest) -> bool:
        """Tell whether the index has grown so much that it is to be measured again, or trained."""
        measured = manifest.probing.measured_on if manifest.probing.recall is not None else manifest.trained_on
        return manifest.count > min(_MEASURED_AT * measured, _RETRAINED_AT * manifest.trained_on)

    def _is_improvable(self, manifest: Manifest, state: CatalogState) -> bool:
        """Tell whether an earlier version of Visem made the index, or it lacked texts, and there are some by now."""
        if manifest.probing.scored is None:
            return True
        return manifest.probing.queries != "texts" and self._folder.has_queries(state.space)

    def _count(self) -> int:
        return self._collection.count({})

    def _seal(self, manifest: Manifest, codec: Codec) -> bool:
        """Add segments of the records after the last one, and make that the index."""
        entries: list[SegmentEntry] = []
        last = manifest.key
        for encoded in self._encoded(codec, manifest.key, manifest.generation):
            entries.append(self._folder.write_segment(encoded))
            last = int(encoded.keys[-1])
        return self._commit(manifest, key=last, segments=(*manifest.segments, *entries))

    def _merge(self, manifest: Manifest, codec: Codec, chosen: tuple[SegmentEntry, ...], *, purge: bool) -> bool:
        """Make one segment of several; with `purge`, without the records that are gone."""
        position = self._collection.head() if purge else manifest.position
        parts = []
        for entry in chosen:
            part = self._folder.read_segment(entry, codec.lists)
            if part is None:
                self._folder.discard()
                return True
            parts.append(part)
        encoded = joined(parts)
        order = np.argsort(encoded.keys, kind="stable")
        if purge:
            there = np.concatenate([self._collection.keys({}), self._collection.hidden()])
            order = order[np.isin(encoded.keys[order], there)]
        merged = self._folder.write_segment(encoded[order])
        others = tuple(entry for entry in manifest.segments if entry not in chosen)
        return self._commit(manifest, deletion=position.deletion, segments=(*others, merged))

    def _train(self, state: CatalogState, wait: bool) -> bool:
        """Train on what there is now; once that is done, encode what came meanwhile, and make that the index."""
        if self._training is None:
            self._training = self._pool.submit(self._trained, state)
        if not wait and not self._training.done():
            return False
        training, self._training = self._training, None
        trained = training.result()
        # Written here, not in the thread: what no manifest names yet may be swept at any step before this one.
        manifest = trained.manifest.model_copy(
            update={
                "codec_sha256": self._folder.write_codec(trained.codec),
                "segments": (self._folder.write_segment(trained.encoded),),
            }
        )
        return self._seal(manifest, trained.codec)

    def _trained(self, state: CatalogState) -> _Trained:
        """Train a codec and encode every record with it; nothing is written."""
        head = self._collection.head()
        keys = self._collection.keys({})
        chosen = np.random.default_rng(0).permutation(keys)[: training_size(len(keys))]
        sample = np.concatenate(
            [self._vectors(self._collection, chosen[at : at + _STEP], state) for at in range(0, len(chosen), _STEP)]
        )
        queries, kind = self._queries(state)
        codec = train(sample, queries, len(keys))
        del sample
        answers = None if queries is None else ExactAnswers(queries)
        encoded = joined(list(self._encoded(codec, 0, state.generation, answers)))
        probing = choose_probing(codec, encoded, answers)
        manifest = Manifest(
            library_id=state.library_id,
            target=self._collection.target,
            generation=state.generation,
            dimension=codec.dimension,
            key=int(encoded.keys[-1]),
            deletion=head.deletion,
            anchor="",
            codec=codec.name,
            codec_sha256="",
            trained_on=codec.trained_on,
            probing=probing.model_copy(update={"queries": kind}),
            segments=(),
        )
        return _Trained(manifest, codec, encoded)

    def _measure(self, manifest: Manifest, codec: Codec) -> bool:
        """Measure again, by texts of people's kind, and search as that demands."""
        queries, kind = self._queries(self._catalog.state())
        if queries is None:
            return False
        answers = ExactAnswers(queries)
        last = 0
        while last < manifest.key:
            keys, halves = self._collection.stored_after(last, _STEP, manifest.generation)
            if not len(keys):
                break
            last = int(keys[-1])
            answers.see(keys, unit_rows(halves, manifest.dimension))
        parts = [self._folder.read_segment(entry, codec.lists) for entry in manifest.segments]
        whole = [part for part in parts if part is not None]
        if len(whole) < len(parts):
            self._folder.discard()
            return True
        probing = choose_probing(codec, joined(whole), answers)
        return self._commit(manifest, probing=probing.model_copy(update={"queries": kind}))

    def _queries(self, state: CatalogState) -> tuple[Vectors | None, QueryKind | None]:
        """Return vectors of texts: those that the model's owner left here, or of sentences of the library."""
        queries = self._folder.queries(state.space)
        if queries is not None:
            return queries[:_QUERIES], "texts"
        sentences: Collection[Any] = self._catalog.sentences
        if self._collection.target == "sentences" or sentences.count({}) < _FEWEST_SENTENCES:
            return None, None
        keys = np.random.default_rng(0).permutation(sentences.keys({}))[:_QUERIES]
        return self._vectors(sentences, keys, state), "sentences"

    @staticmethod
    def _vectors(collection: Collection[Any], keys: Keys, state: CatalogState) -> Vectors:
        return unit_rows(collection.stored(keys, state.generation)[1], state.space.dimension)

    def _encoded(
        self, codec: Codec, after: int, generation: int, answers: ExactAnswers | None = None
    ) -> Iterator[Encoded]:
        """Yield the records after a key as `seal_at` encoded vectors at a time, in short transactions."""
        pending: list[Encoded] = []
        last = after
        while True:
            keys, halves = self._collection.stored_after(last, _STEP, generation)
            if len(keys):
                last = int(keys[-1])
                vectors = unit_rows(halves, codec.dimension)
                if answers is not None:
                    answers.see(keys, vectors)
                pending.append(codec.encode(keys, vectors))
                self._pace(len(keys))
            if len(keys) < _STEP or sum(map(len, pending)) >= self._options.seal_at:
                if pending:
                    yield joined(pending)
                pending = []
            if len(keys) < _STEP:
                return

    def _commit(self, manifest: Manifest, **changes: Any) -> bool:
        """Replace the manifest, and remove what it no longer names."""
        changed = manifest.model_copy(update=changes)
        anchor = self._collection.anchor(changed.position)
        if anchor is None:  # a catalog that went another way
            self._folder.discard()
            return True
        changed = changed.model_copy(update={"anchor": anchor})
        self._folder.commit(changed)
        self._folder.sweep(changed)
        return True


def _smallest(segments: tuple[SegmentEntry, ...]) -> tuple[SegmentEntry, ...]:
    """Return the small segments that together are worth a merge: each record is merged a few times in its life."""
    by_size = sorted(segments, key=lambda entry: entry.count)
    chosen, total = by_size[:2], by_size[0].count + by_size[1].count
    for entry in by_size[2:]:
        if entry.count > total:
            break
        chosen.append(entry)
        total += entry.count
    return tuple(chosen)


def untidy(segments: tuple[SegmentEntry, ...]) -> tuple[SegmentEntry, ...]:
    """Return the smallest segments, up to the last that is not much larger than all before it together."""
    by_size = sorted(segments, key=lambda entry: entry.count)
    most = smaller = 0
    for place, entry in enumerate(by_size, start=1):
        if entry.count <= _TIDY * smaller:
            most = place
        smaller += entry.count
    return tuple(by_size[:most])
