"""Tensors mapped from a safetensors file are those that its own library reads."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from model.bundle import shipped_bundle
from model.errors import BundleError
from model.runtime.tensors import MappedTensors


@pytest.mark.parametrize("name", ["encoders.safetensors", "captioner.safetensors", "backbone.safetensors"])
def test_they_are_what_the_library_reads(name: str) -> None:
    read, mapped = load_file(shipped_bundle() / name), MappedTensors(shipped_bundle() / name)
    assert set(mapped) == set(read)
    for key, expected in read.items():
        assert (mapped[key].dtype, mapped[key].shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(mapped[key], expected)


def test_every_kind_and_odd_shapes(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        str(np.dtype(kind)): np.arange(6).reshape(2, 3).astype(kind)
        for kind in ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
    }
    arrays |= {"scalar": np.array(2.5, dtype=np.float16), "empty": np.zeros((0, 4), dtype=np.float32)}
    save_file(arrays, tmp_path / "some.safetensors", metadata={"about": "nothing"})
    mapped = MappedTensors(tmp_path / "some.safetensors")
    assert len(mapped) == len(arrays)
    for name, expected in arrays.items():
        assert (mapped[name].dtype, mapped[name].shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(mapped[name], expected)
    with pytest.raises(ValueError, match="read-only"):
        mapped["float32"][0] = 1


def test_they_outlive_the_mapping_and_a_file_that_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    save_file({"a": np.arange(4)}, file)
    kept = MappedTensors(file)["a"]
    save_file({"a": np.zeros(4)}, tmp_path / "other")
    (tmp_path / "other").replace(file)
    assert kept.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00not json"])
def test_a_file_that_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "some.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"some\.safetensors"):
        MappedTensors(tmp_path / "some.safetensors")


def _entry(shape: object, offsets: object, kind: str = "F32") -> bytes:
    return json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": offsets}}).encode()


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"a": null}',
        _entry([2], [0, 8], "BF16"),
        _entry([-1], [4, 0]),
        _entry([2], [-8, 0]),
        _entry([2], [2**70, 2**70 + 8]),
        _entry([2**70], [0, 2**72]),
        _entry([2**33, 2**33], [0, 0]),
        _entry([0, 2**70], [0, 0]),
        _entry([2.0], [0, 8]),
        b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}',
    ],
    ids=lambda header: header[:60].decode(),
)
def test_a_header_that_no_library_writes(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "some.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    with pytest.raises(BundleError, match=r"some\.safetensors cannot be read"):
        MappedTensors(file)


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    save_file({"a": np.arange(100)}, file)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(BundleError, match=r"some\.safetensors"):
        MappedTensors(file)


def test_a_tensor_that_should_be_there(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    save_file({"a": np.zeros((2, 3))}, file)
    assert MappedTensors(file).require("a", (2, 3)).shape == (2, 3)
    with pytest.raises(BundleError, match=r"a is \(2, 3\), where it should be \(3, 2\)"):
        MappedTensors(file).require("a", (3, 2))
    with pytest.raises(BundleError, match="b is not there"):
        MappedTensors(file).require("b", (1,))
