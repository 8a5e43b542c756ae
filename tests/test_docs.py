"""What the documentation shows is true: its commands parse, its recipes load, its Python runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from markdown_it import MarkdownIt

from revibranch.benchmarks.run import load
from revibranch.cli import _group, options
from revibranch.gnn.training.recipe import Recipe, load_recipe
from revibranch.gnn.training.reinforcement_recipe import ReinforcementRecipe
from revibranch.instances import families

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("", "bash")
KINDS = (*SHELL, "python", "toml", "{eval-rst}", "{include}", "{toctree}")


class Part(NamedTuple):
    """A block of code, or (kind None) code within a sentence."""

    page: Path
    kind: str | None
    text: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def parts_of(page: Path) -> Iterator[Part]:
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type in ("fence", "code_block"):
            yield Part(page, token.info.split(" ")[0], token.content, line)
        for child in token.children or ():
            if child.type == "code_inline":
                yield Part(page, None, child.content, line)


PARTS = [part for page in PAGES for part in parts_of(page)]
COMMAND_LINES = [
    pytest.param(shlex.split(line, comments=True), id=f"{part.place}: {line}")
    for part in PARTS
    if part.kind in SHELL
    for line in part.text.replace("\\\n", " ").splitlines()
    if shlex.split(line, comments=True)
]
MENTIONS = [pytest.param(part.text, id=f"{part.place}: {part.text}") for part in PARTS if part.kind is None]
PYTHON_PAGES = sorted({part.page for part in PARTS if part.kind == "python"})
TOML_PAGES = sorted({part.page for part in PARTS if part.kind == "toml"})


@pytest.fixture(autouse=True)
def ray_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "find_spec", lambda name: object())


def command_of(name: str) -> click.Command:
    command = _group.get_command(click.Context(_group), name)
    assert command is not None, f"there is no command {name!r}"
    return command


def parsed(words: list[str]) -> dict[str, Any]:
    """Parameters of a command line of ``revibranch``, converted and checked; nothing is run."""
    assert words[0] == "revibranch"
    if words[1].startswith("-"):
        return _group.make_context("revibranch", words[1:]).params
    try:
        return command_of(words[1]).make_context(words[1], words[2:]).params
    except click.exceptions.Exit:  # --help
        return {}


def check_values(command: str, values: dict[str, Any]) -> None:
    """Names that a shown command gives must exist, as far as they lie in the repository."""
    for policy in (values.get("policy"), *values.get("against", ()), *values.get("policies", ())):
        if policy is not None and ".safetensors" not in policy:
            load(policy)
    if command == "generate":
        families.get(values["family"]).parse_size(values["size"])
    if command == "train":
        assert (values["recipe"] is None) != (values["instances"] is None)
    if command == "train" and values["recipe"] is not None:
        load_recipe(ROOT / values["recipe"], values["overrides"])


def test_no_block_is_of_a_kind_that_nobody_checks() -> None:
    assert {part.kind for part in PARTS} - {None} <= set(KINDS)
    assert len(COMMAND_LINES) > 20
    assert ROOT / "docs" / "quickstart.md" in PYTHON_PAGES


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_command_parses(words: list[str]) -> None:
    program, *arguments = words
    if program == "revibranch":
        check_values(arguments[0], parsed(words))
    elif program == "make":
        targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [argument for argument in arguments if "=" not in argument] == [name for name in targets if name in arguments]
    elif program == "python":
        assert arguments[0] == "-m"
        assert find_spec(arguments[1]) is not None
    else:
        assert words[:2] == ["pip", "install"], f"nobody checks {program!r}"


@pytest.mark.parametrize("text", MENTIONS)
def test_mentioned_commands_and_options_exist(text: str) -> None:
    if text.startswith("--"):
        commands = [_group, *map(command_of, _group.list_commands(click.Context(_group)))]
        known = {name for command in commands for option in command.params for name in (*option.opts, *option.secondary_opts)}
        assert text.split()[0] in known
    elif text.startswith("revibranch "):
        with suppress(click.MissingParameter):  # a sentence need not name the file
            parsed(text.split())


@pytest.mark.parametrize("text", MENTIONS)
def test_mentioned_keys_of_recipes_exist(text: str) -> None:
    """Such as ``network.classes``, with or without a value."""
    section, dot, key = text.split(" ")[0].split("=")[0].partition(".")
    models = [recipe.model_fields[section].annotation for recipe in (Recipe, ReinforcementRecipe) if section in recipe.model_fields]
    if dot and models:
        assert any(key in model.model_fields for model in models if model is not None)


@pytest.mark.parametrize("page", TOML_PAGES, ids=lambda page: page.name)
def test_recipe_loads(page: Path, tmp_path: Path) -> None:
    """The first block of a page is a whole recipe, each further one comes behind it."""
    whole, *more = [part.text for part in PARTS if part.page == page and part.kind == "toml"]
    for number, text in enumerate((whole, *(whole + part for part in more))):
        recipe = tmp_path / f"{number}.toml"
        recipe.write_text(text, encoding="utf-8")
        load_recipe(recipe)


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page, one after the other, on small auctions; a rule that is shown must also branch."""
    monkeypatch.chdir(tmp_path)
    for seed, name in ((0, "instance.mps"), (0, "first.mps"), (5, "second.mps")):  # trees of some dozen nodes
        families.get("auction").generate("50x250", seed=seed).to_model().writeProblem(name, verbose=False)
    names: dict[str, Any] = {}
    for part in PARTS:
        if part.page == page and part.kind == "python":
            before = names.get("brancher")
            exec(compile(part.text, part.place, "exec"), names)
            if names.get("brancher") is not before:
                statistics = names["brancher"].statistics
                assert statistics.decisions > 0, part.place
                assert statistics.fallbacks == 0, part.place
    # A class of policy that was defined here holds these names, and so the model, which in turn holds the policy.
    names.clear()
