"""Sphinx: pages in MyST, the API reference out of docstrings. `make docs` builds it."""
# ruff: noqa: ARG001 - Sphinx dictates the arguments of its events

from __future__ import annotations

import inspect
import json
import re
from importlib.metadata import version as installed_version
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock

import revibranch
from revibranch.gnn.config import NetworkConfig
from revibranch.gnn.training.sections import Section

project = "ReviBranch"
author = "The ReviBranch founders"
version = release = installed_version("revibranch")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
root_doc = "index"
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "alabaster"
html_theme_options = {"description": "A learned branching rule for SCIP", "page_width": "1100px", "sidebar_width": "240px"}
html_copy_source = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
# The extras need not be there: what their modules hold is of no matter to a signature. Not by `autodoc_mock_imports`, which
# ends with each import: Sphinx then comes back to a module's source, and torch would be loaded after all.
_extras = mock(["gymnasium", "matplotlib", "pyarrow", "ray", "tensorboardX", "torch", "torch_geometric"])
_extras.__enter__()

# A name of ours that leads nowhere is an error; others' documentation is not looked up.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!revibranch\.).*"),
    (r"py:.*", r"revibranch\.(.*\.)?(_.*|[A-Z])"),  # private names and type variables, out of annotations
]

_ATTRIBUTES = ("attribute", "data", "property")
_ARRAY = re.compile(r"~?(?:numpy\.)?ndarray\[~?(?:builtins\.)?tuple\[~?(?:typing\.)?Any, \.\.\.\], ~?(?:numpy\.)?dtype\[([^\[\]]*)\]\]")
_attribute_lines: dict[str, list[str]] = {}


def _skip(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Every object stands once: the public names on their own page, all others in the module that defines them."""
    if name == "model_config":
        return True
    if what != "module" or not (inspect.isclass(obj) or inspect.isroutine(obj)):
        return None
    home = str(obj.__module__)
    elsewhere = home.startswith("revibranch.") and home != app.env.current_document.autodoc_module
    return True if elsewhere or name in revibranch.__all__ else None


def _sign(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Arrays by their short name; settings list their keys below, and nobody makes a protocol."""
    if what == "class" and (issubclass(obj, BaseModel) or getattr(obj, "_is_protocol", False)):
        return "", None
    return tuple(text and _ARRAY.sub(r"NDArray[\1]", text) for text in (signature, returns))  # type: ignore[return-value]


def _before_napoleon(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what in _ATTRIBUTES:
        _attribute_lines[name] = list(lines)


def _after_napoleon(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes an attribute's text up to a colon for its type; ours are sentences. A recipe's defaults are listed."""
    if what in _ATTRIBUTES:
        lines[:] = _attribute_lines.pop(name)
    elif what == "class" and issubclass(obj, (Section, NetworkConfig)) and obj.model_fields:
        lines += ["", "Defaults::", "", *(f"    {_toml(key, field)}" for key, field in obj.model_fields.items()), ""]


def _toml(key: str, field: FieldInfo) -> str:
    if field.is_required():
        return f"# {key}: must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"# {key}: see {type(value).__name__}"
    return f"# {key}: none" if value in (None, (), {}) else f"{key} = {json.dumps(value)}"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-signature", _sign)
    app.connect("autodoc-process-docstring", _before_napoleon, priority=100)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=900)
