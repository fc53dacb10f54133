"""`visem sentences`."""

from __future__ import annotations

from pathlib import Path

from tests.app.cli.conftest import Run


def test_adding(run: Run) -> None:
    document = run("sentences", "add", "a dog  runs", "a cat", "--metadata", "by=me", "--json").document
    assert (document["created"], document["duplicates"], document["rejected"]) == (2, 0, 0)
    assert [result["text"] for result in document["results"]] == ["a dog runs", "a cat"]
    assert document["results"][0]["sentence"]["metadata"] == {"by": "me"}
    outcome = run("sentences", "add", "a cat", "a black dog")
    assert (outcome.status, outcome.stdout) == (0, "Added 1 sentence; 1 already there; 0 rejected.\n")


def test_sentences_without_a_known_word(run: Run) -> None:
    outcome = run("sentences", "add", "zyzzyva", "a dog", "--json")
    assert outcome.status == 1
    assert outcome.document["results"][0]["code"] == "no_known_words"
    assert outcome.document["created"] == 1
    assert "zyzzyva" in outcome.stderr


def test_from_a_file_and_from_standard_input(run: Run, tmp_path: Path) -> None:
    lines = [f"a dog {'runs ' * (n // 2)}{'cat' * (n % 2)}".strip() for n in range(1, 301)]
    file = tmp_path / "sentences.txt"
    file.write_text("\ufeff" + "\n\n".join(lines) + "\n", encoding="utf-8")
    assert run("sentences", "add", "--file", file, "--json").document["created"] == 300
    outcome = run("sentences", "add", "--file", "-", "--json", stdin="a dog runs\na red flower\n")
    assert (outcome.document["created"], outcome.document["duplicates"]) == (1, 1)
    file.write_bytes(b"caf\xe9\n")
    outcome = run("sentences", "add", "--file", file)
    assert outcome.status == 1
    assert "UTF-8" in outcome.stderr


def test_listing(run: Run) -> None:
    run("sentences", "add", "a dog", "a cat", "--metadata", "n=1")
    run("sentences", "add", "a car")
    document = run("sentences", "list", "--limit", "2", "--json").document
    assert [item["text"] for item in document["items"]] == ["a car", "a cat"]
    assert document["total"] == 3
    rest = run("sentences", "list", "--cursor", document["next_cursor"], "--json").document
    assert [item["text"] for item in rest["items"]] == ["a dog"]
    outcome = run("sentences", "list", "--limit", "1", "--filter", "n=1")
    assert outcome.stdout.rstrip("\n").split("\t")[1] == "a cat"
    assert "1 of 2" in outcome.stderr


def test_removing(run: Run) -> None:
    added = run("sentences", "add", "a dog", "a cat", "--json").document["results"]
    first, second = (result["sentence"]["id"] for result in added)
    outcome = run("sentences", "remove", first, "gone", f"sentence:{second}", "--json")
    assert outcome.status == 1
    assert outcome.document == {"removed": [first, second], "not_found": ["gone"]}
    assert run("sentences", "list", "--json").document["total"] == 0
