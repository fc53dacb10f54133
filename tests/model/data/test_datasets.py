"""Each layout of a captioned image set, read from real files; damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from model.data.datasets import CaptionedImage, load_dataset
from model.errors import DatasetError

FIXTURES = Path(__file__).parents[2] / "fixtures"
FLICKR8K = FIXTURES / "captions"


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(FIXTURES / "photos" / "cat.jpg", path)
    return path


def refusal(root: Path, split: str = "train") -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        load_dataset(root, split)
    return caught.value


@pytest.mark.parametrize(("split", "count"), [("train", 6), ("dev", 2), ("test", 2)])
def test_the_fixture_is_a_flickr8k_of_its_own(split: str, count: int) -> None:
    dataset = load_dataset(FLICKR8K, split)
    assert (dataset.name, dataset.split, dataset.missing) == ("flickr8k", split, 0)
    assert len(dataset.items) == count
    for item in dataset.items:
        assert item.path.is_file()
        assert len(set(item.captions)) == 5


def test_captions_keep_their_order_and_their_image() -> None:
    coffee = next(item for item in load_dataset(FLICKR8K, "dev").items if item.path.name == "coffee.jpg")
    assert coffee.captions[0] == "A cup of coffee on a wooden table ."
    assert coffee.captions[4] == "A small cup of coffee and a metal spoon ."


def test_val_is_another_name_for_dev() -> None:
    assert load_dataset(FLICKR8K, "val") == load_dataset(FLICKR8K, "dev")


@pytest.mark.parametrize("folder", ["Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "."])
def test_original_flickr8k(tmp_path: Path, folder: str) -> None:
    path = photo(tmp_path / folder / "a.jpg")
    write(
        tmp_path / "Flickr8k.token.txt",
        "a.jpg#0\tA cat .",
        "a.jpg#1\tOne\u2028cat # 2 .",
        "b.jpg.1#0\tNobody .",
    )
    write(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg", "")
    assert load_dataset(tmp_path, "train").items == (CaptionedImage(path, ("A cat .", "One cat # 2 .")),)


def test_images_without_file_or_captions_are_counted(tmp_path: Path) -> None:
    photo(tmp_path / "Images" / "a.jpg")
    photo(tmp_path / "Images" / "blank.jpg")
    photo(tmp_path / "Images" / "silent.jpg")
    write(tmp_path / "Flickr8k.token.txt", "a.jpg#0\tA cat .", "gone.jpg#0\tA dog .", "blank.jpg#0\t  ")
    write(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg", "gone.jpg", "silent.jpg", "blank.jpg", "a.jpg")
    dataset = load_dataset(tmp_path, "train")
    assert [item.path.name for item in dataset.items] == ["a.jpg"]
    assert dataset.missing == 3


def test_no_image_at_all_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "Flickr8k.token.txt", "a.jpg#0\tA cat .")
    write(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg")
    error = refusal(tmp_path)
    assert error.code == "dataset_empty"
    assert str(tmp_path / "Images") in str(error)


def test_comma_separated_captions(tmp_path: Path) -> None:
    path = photo(tmp_path / "Images" / "a.jpg")
    write(
        tmp_path / "captions.txt",
        "image,caption",
        "a.jpg,A cat .",
        'a.jpg,"A cat , a ""fine"" one ."',
        "a.jpg,A cat , and no quotes .",
    )
    write(tmp_path / "Flickr_8k.testImages.txt", "a.jpg")
    dataset = load_dataset(tmp_path, "test")
    assert dataset.name == "flickr8k"
    captions = ("A cat .", 'A cat , a "fine" one .', "A cat , and no quotes .")
    assert dataset.items == (CaptionedImage(path, captions),)


def test_a_missing_split_list_is_named_with_the_splits_there_are(tmp_path: Path) -> None:
    write(tmp_path / "captions.txt", "image,caption", "a.jpg,A cat .")
    error = refusal(tmp_path, "test")
    assert error.code == "dataset_missing"
    assert "Flickr_8k.testImages.txt" in str(error)
    assert "none" in str(error)
    write(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg")
    assert "Splits that are there: train." in str(refusal(tmp_path, "test"))


def test_flickr30k(tmp_path: Path) -> None:
    path = photo(tmp_path / "flickr30k_images" / "2199200615.jpg")
    write(
        tmp_path / "results.csv",
        "image_name| comment_number| comment",
        "2199200615.jpg| 0| A dog | or two .",
        "2199200615.jpg| 4   A dog runs across the grass .",
    )
    write(tmp_path / "val.txt", "2199200615")
    dataset = load_dataset(tmp_path, "dev")
    assert dataset.name == "flickr30k"
    assert dataset.items == (CaptionedImage(path, ("A dog | or two .", "A dog runs across the grass .")),)
    assert "train.txt" in str(refusal(tmp_path, "train"))


def karpathy(root: Path, name: str, *images: tuple[str, str, str]) -> None:
    document = {
        "images": [
            {
                **({"filepath": folder} if folder else {}),
                "filename": file_name,
                "split": split,
                "sentences": [{"raw": f"{file_name} one."}, {"raw": f"{file_name} two.\n"}],
            }
            for folder, file_name, split in images
        ]
    }
    (root / f"dataset_{name}.json").write_text(json.dumps(document))


@pytest.mark.parametrize("name", ["flickr8k", "flickr30k"])
def test_karpathy_flickr(tmp_path: Path, name: str) -> None:
    path = photo(tmp_path / "images" / "a.jpg")
    karpathy(tmp_path, name, ("", "a.jpg", "val"), ("", "b.jpg", "train"))
    dataset = load_dataset(tmp_path, "dev")
    assert (dataset.name, dataset.split) == (name, "dev")
    assert dataset.items == (CaptionedImage(path, ("a.jpg one.", "a.jpg two.")),)


def test_karpathy_coco_trains_on_restval_too(tmp_path: Path) -> None:
    first = photo(tmp_path / "train2014" / "a.jpg")
    second = photo(tmp_path / "images" / "val2014" / "b.jpg")
    photo(tmp_path / "c.jpg")
    karpathy(
        tmp_path,
        "coco",
        ("train2014", "a.jpg", "train"),
        ("val2014", "b.jpg", "restval"),
        ("val2014", "c.jpg", "test"),
    )
    assert [item.path for item in load_dataset(tmp_path, "train").items] == [first, second]
    assert [item.path.name for item in load_dataset(tmp_path, "test").items] == ["c.jpg"]
    error = refusal(tmp_path, "dev")
    assert error.code == "dataset_split_unknown"
    assert "train, test" in str(error)


def test_karpathy_goes_before_files_without_splits(tmp_path: Path) -> None:
    photo(tmp_path / "flickr30k_images" / "a.jpg")
    write(tmp_path / "results.csv", "image_name| comment_number| comment", "a.jpg| 0| From the CSV .")
    karpathy(tmp_path, "flickr30k", ("", "a.jpg", "test"))
    assert load_dataset(tmp_path, "test").items[0].captions == ("a.jpg one.", "a.jpg two.")


def test_two_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    karpathy(tmp_path, "coco", ("", "a.jpg", "train"))
    karpathy(tmp_path, "flickr8k", ("", "a.jpg", "train"))
    assert "dataset_coco.json, dataset_flickr8k.json" in str(refusal(tmp_path))


@pytest.mark.parametrize("split", ["training", "", "train+dev", "restval"])
def test_an_unknown_split_lists_the_known_ones(split: str) -> None:
    error = refusal(FLICKR8K, split)
    assert error.code == "dataset_split_unknown"
    assert "train, dev, val, test" in str(error)


def test_folders_that_hold_no_set(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.code == "dataset_missing"
    assert "Flickr8k.token.txt" in str(error)
    assert refusal(tmp_path / "nowhere").code == "dataset_missing"


@pytest.mark.parametrize(
    ("file_name", "lines", "place"),
    [
        ("Flickr8k.token.txt", ["a.jpg#0\tA cat .", "", "a.jpg#1 A cat ."], "line 3"),
        ("Flickr8k.token.txt", ["a.jpg\tA cat ."], "line 1"),
        ("captions.txt", ["image,caption", "a.jpg"], "line 2"),
        ("results.csv", ["image_name| comment_number| comment", "a.jpg A cat ."], "line 2"),
        ("dataset_coco.json", ['{"images": [{"filename": "a.jpg"}]}'], "sentences"),
        ("dataset_coco.json", ['{"images": [{"filename": "a.jpg", "sentences": [], "split": "x"}]}'], "'x'"),
        ("dataset_coco.json", ["[]"], "TypeError"),
        ("dataset_coco.json", ["{"], "JSONDecodeError"),
    ],
)
def test_malformed_files_are_named_with_the_place(tmp_path: Path, file_name: str, lines: list[str], place: str) -> None:
    write(tmp_path / file_name, *lines)
    error = refusal(tmp_path)
    assert error.code == "dataset_malformed"
    assert file_name in str(error)
    assert place in str(error)


def test_files_that_are_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "Flickr8k.token.txt").write_bytes(b"a.jpg#0\tcaf\xe9\n")
    assert refusal(tmp_path).code == "dataset_malformed"


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    photo(tmp_path / "Images" / "a.jpg")
    (tmp_path / "Flickr8k.token.txt").write_bytes(b"\xef\xbb\xbfa.jpg#0\tA cat .\r\n")
    (tmp_path / "Flickr_8k.trainImages.txt").write_bytes(b"\xef\xbb\xbfa.jpg\r\n")
    assert load_dataset(tmp_path, "train").items[0].captions == ("A cat .",)
