"""What surrounds every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.application import COMMANDS, MODULES
from app.cli.failures import CommandError
from app.problems import describe
from app.version import VERSION
from tests.app.cli.conftest import Run, finish, start

COMMAND_MODULES = Path(__file__).parents[3] / "app" / "cli"
HEAVY = ("torch", "numpy", "faiss", "sqlalchemy", "fastapi", "PIL")


def test_the_version(run: Run) -> None:
    outcome = run("--version")
    assert (outcome.status, outcome.stdout) == (0, f"visem {VERSION}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["add", "--help"], ["train", "space", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom app.cli import application\n"
        f"try: application({arguments!r})\nexcept SystemExit as end: assert not end.code\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert "Usage:" in output
    assert output.splitlines()[-1] == "[]"


ARRAYS = ("numpy", "faiss", "onnxruntime", "PIL", "torch", "alembic", "fastapi")


@pytest.mark.parametrize("arguments", [["info"], ["sentences", "list", "--json"], ["sentences", "remove", "SENTENCE"]])
def test_looking_at_records_imports_nothing_for_arrays(
    arguments: list[str], run: Run, environment: dict[str, str]
) -> None:
    sentence = run("sentences", "add", "a dog", "--json").document["results"][0]["sentence"]["id"]
    given = [sentence if argument == "SENTENCE" else argument for argument in arguments]
    code = (
        "import sys\nfrom app.cli import application\n"
        f"try: application({given!r})\nexcept SystemExit as end: assert not end.code\n"
        f"print(sorted(set({ARRAYS!r}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout  # noqa: S603
    assert len(output.splitlines()) > 1
    assert output.splitlines()[-1] == "[]"


UNUSED = ("faiss", "PIL", "torch", "alembic", "fastapi", "httpcore2", "watchfiles", "safetensors")


def test_a_search_for_words_imports_nothing_that_it_does_not_use(run: Run, environment: dict[str, str]) -> None:
    run("sentences", "add", "a dog")
    code = (
        "import sys\nfrom app.cli import application\n"
        "try: application(['search', 'a dog', '--target', 'sentences'])\nexcept SystemExit: pass\n"
        f"print(sorted(set({UNUSED!r}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout  # noqa: S603
    assert "a dog" in output
    assert output.splitlines()[-1] == "[]"


def test_commands_are_imported_one_by_one() -> None:
    code = "import sys\nfrom app.cli import application\nprint([m for m in sys.modules if m.startswith('app.cli.')])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert not [name for name in COMMANDS if f"app.cli.{MODULES.get(name, name)}'" in output]


def test_every_module_of_a_command_is_listed(run: Run) -> None:
    modules = {file.stem for file in COMMAND_MODULES.glob("*.py") if "def register(" in file.read_text("utf-8")}
    assert modules == {MODULES.get(name, name) for name in COMMANDS}
    assert all(f"\n  {name} " in run("--help").stdout for name in COMMANDS)


def test_every_command_explains_itself(run: Run) -> None:
    for command in (
        *("serve", "add", "search", "caption", "remove", "reindex", "info", "bench"),
        *("captions list", "captions add", "captions set", "captions remove"),
        *("sentences add", "sentences list", "sentences remove", "train space", "train bundle", "evaluate retrieval"),
    ):
        outcome = run(*command.split(), "--help")
        assert outcome.status == 0, command
        assert f"visem {command}" in outcome.stdout


def test_errors_are_one_line(run: Run, library: Path) -> None:
    outcome = run("search", "a dog")
    assert outcome.status == 1
    assert outcome.stdout == ""
    assert outcome.stderr == (
        f"visem: There is no library in {library}. Add something with `visem add` to create it.\n"
    )
    assert not library.exists(), "a mistyped name leaves nothing behind"


def test_errors_as_json(run: Run) -> None:
    outcome = run("search", "a dog", "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "library_not_found"
    assert outcome.document["error"]["message"] in outcome.stderr


@pytest.mark.parametrize("arguments", [["--debug", "search", "a dog"], ["search", "a dog", "--debug"]])
def test_a_traceback_on_demand(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert outcome.status == 1
    assert "Traceback" in outcome.stderr
    assert outcome.stderr.splitlines()[-1].startswith("visem: There is no library")


def test_debug_may_be_an_argument(run: Run, library: Path) -> None:
    run("sentences", "add", "a dog")
    outcome = run("search", "--", "dog", "--debug")
    assert outcome.status == 0
    assert "debug" in outcome.stderr, "a word, which the model does not know"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["search"],
        ["search", "dog", "-k", "0"],
        ["search", "dog", "--target", "videos"],
        ["search", "dog", "--filter", "album"],
        ["search", "--image", "nowhere.jpg"],
        ["add"],
        ["add", "nowhere"],
        ["add", ".", "--metadata", "album"],
        ["add", ".", "--metadata", "=x"],
        ["remove"],
        ["caption", "nowhere.jpg"],
        ["sentences", "add"],
        ["captions", "add", "ID"],
        ["captions", "set", "ID", " "],
        ["captions", "remove", "ID", "--origin", "nobody"],
        ["serve", "--port", "70000"],
        ["bench", "--sizes", "many"],
        ["bench", "--sizes", "0"],
        ["evaluate", "retrieval", "--data", "nowhere", "--split", "test"],
        ["train", "space", "--data", ".", "--out", "."],
    ],
)
def test_usage_errors(run: Run, arguments: list[str], library: Path) -> None:
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not library.exists()


def test_bad_settings_are_usage_errors(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEM_MAX_PIXELS", "many")
    outcome = run("info")
    assert outcome.status == 2
    assert outcome.stderr.startswith("visem: VISEM_MAX_PIXELS: ")
    assert len(outcome.stderr.splitlines()) == 1
    monkeypatch.delenv("VISEM_MAX_PIXELS")
    monkeypatch.setenv("VISEM_DEVICE", "gpu")
    assert run("info").stderr == "visem: VISEM_DEVICE: must be auto, cpu, cuda or cuda:N.\n"


def test_a_damaged_bundle_is_named(run: Run, tmp_path: Path) -> None:
    outcome = run("sentences", "add", "a dog", "--bundle", tmp_path / "nothing")
    assert outcome.status == 1
    assert f"{tmp_path / 'nothing' / 'bundle.json'}" in outcome.stderr


def test_exceptions_in_words() -> None:
    assert describe(CommandError("some_code", "Do this.")) == ("some_code", "Do this.")
    code, message = describe(FileNotFoundError(2, "No such file or directory", "x.jpg"))
    assert (code, message) == ("system_error", "x.jpg: No such file or directory.")
    code, message = describe(RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert (code, message) == ("system_error", "No space left on device.")
    code, message = describe(KeyError("k"))
    assert code == "internal_error"
    assert "KeyError: 'k'" in message
    assert "--debug" in message


def test_a_reader_that_goes_away(environment: dict[str, str], run: Run) -> None:
    run("sentences", "add", *(f"a dog {'runs ' * n}" for n in range(1, 40)))
    process = start(environment, "sentences", "list")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    outcome = finish(process)
    assert outcome.stderr == ""
    assert outcome.status == 141


def test_a_full_disk_of_the_reader(environment: dict[str, str], run: Run) -> None:
    run("sentences", "add", "a dog")
    command = [sys.executable, "-c", "from app.cli import main; main()", "sentences", "list"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
