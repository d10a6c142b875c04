"""TOML files left to right, then dotted overrides, then one frozen RunConfig or one clear error."""

import difflib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tsal_dist.address import refuse_secrets, shown
from tsal_dist.config.moved import refuse_moved
from tsal_dist.config.run import RunConfig, check_sections, name_after
from tsal_dist.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Tree = dict[str, Any]
_DEEPEST = 8  # no setting lies below so many sections
_MOST_SHOWN = 200


def load_config(files: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> RunConfig:
    """Merge `files` left to right, apply `overrides` ("a.b=value"), and check everything.

    A run without a name takes the last file's.
    """
    tree: Tree = {}
    for file in files:
        _lay_over(tree, read_toml(Path(file), "config file"))
    _lay_over(tree, _parse_overrides(overrides))
    if files and isinstance(tree.setdefault("run", {}), dict) and not tree["run"].get("name"):
        tree["run"]["name"] = name_after(Path(files[-1]).stem)
    return build_config(tree)


def build_config(tree: Mapping[str, Any], where: str = "") -> RunConfig:
    """A RunConfig from nested mappings; sweeps and run.json use this. `where` begins every message."""
    _refuse_secrets(tree, where)
    refuse_moved(tree, where)
    try:
        config = RunConfig.model_validate(tree)
        check_sections(config)
    except (ValidationError, ConfigError) as error:
        text = explain(error) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{where}: {text}" if where else text) from None
    return config


def _refuse_secrets(value: Any, key: str) -> None:
    """Whatever the setting: it goes into run.json."""
    if isinstance(value, str):
        refuse_secrets(value, key)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _refuse_secrets(inner, f"{key}.{shown(str(name))}".lstrip("."))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            _refuse_secrets(inner, key)


def override(config: RunConfig, *overrides: str) -> RunConfig:
    """The same run with some settings changed ("a.b=value"), checked again."""
    tree: Tree = config.model_dump(mode="json", exclude_unset=True)  # what nobody said stays unsaid
    _lay_over(tree, _parse_overrides(overrides))
    return build_config(tree)


def to_override(key: str, value: Any) -> str:
    """`value` as a setting on a command line, from which `parse_value` reads the same one again."""
    return f"{key}={to_toml(key, value)}"


def to_toml(key: str, value: Any) -> str:
    """`value` as a TOML file says it; `key` is for the message. JSON writes what settings hold as TOML does, if it may
    leave letters as they are: TOML knows no pairs of escapes for one letter. And DEL has to be escaped there alone."""
    if not _is_plain(value):
        raise ConfigError(
            f"{key} = {_shown(value)} is nothing that a setting can be. Give text, a finite number, true or false, or a "
            f"list of such."
        )
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def all_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Every dotted key a file or an override may set."""
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner:
            yield from all_keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section a field holds, or None for a plain value."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def read_toml(path: Path, what: str) -> Tree:
    """The file, which people know as `what`, or one clear error."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"There is no {what} {str(path)!r}.{_nearest_file(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{str(path)!r} is a folder; name the TOML file in it.") from None
    except OSError as error:
        raise ConfigError(f"The {what} {str(path)!r} cannot be read: {error.strerror}.") from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply.") from None
    except ValueError as error:  # TOML's own, other encodings, numbers with thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None


def _nearest_file(path: Path) -> str:
    name, there = path.stem, {other.stem: str(other) for other in sorted(path.parent.glob("*.toml"))}
    if not path.parent.is_dir():
        name, there = str(path), {str(other): str(other) for other in sorted(Path("configs").rglob("*.toml"))}
    if near := difflib.get_close_matches(name, there, n=1, cutoff=0.5):
        return f" Did you mean {there[near[0]]!r}?"
    return f" There are: {', '.join(there.values())}." if there else " Name another: there is none beside it."


def _parse_override(text: str) -> Tree:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or key.count(".") > _DEEPEST:
        raise ConfigError(f"The override {shown(text)!r} is not of the form section.key=value.")
    leaf = parse_value(value.strip())
    for part in reversed(key.split(".")):
        leaf = {part: leaf}
    return leaf  # type: ignore[no-any-return]


def parse_value(text: str) -> Any:
    """A TOML value, or the bare text: `method.name=tsal` should not need quotes within quotes."""
    try:
        tree = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # A newline in the text could smuggle further keys into the document: then it is text, not a value.
    return tree["value"] if len(tree) == 1 else text


def _parse_overrides(texts: Sequence[str]) -> Tree:
    tree: Tree = {}
    for text in texts:
        _merge(tree, _parse_override(text))
    return tree


def _lay_over(tree: Tree, later: Mapping[str, Any]) -> None:
    """Merge a whole layer. One that names another method takes nothing of the earlier one's settings: they are not its own."""
    before, after = tree.get("method"), later.get("method")
    if (
        isinstance(before, dict)
        and isinstance(after, Mapping)
        and after.get("name", before.get("name")) != before.get("name")
    ):
        del tree["method"]
    _merge(tree, later)


def _merge(into: Tree, later: Mapping[str, Any]) -> None:
    for key, value in later.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def explain(
    error: ValidationError, kind: type[BaseModel] = RunConfig, page: str = "docs/configuration.md"
) -> str:
    """The first problem as one sentence; how many more there are. `page` lists all settings of this `kind` of file."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    where = _dotted(first["loc"], kind)
    if first["type"] == "extra_forbidden":
        message = f"There is no setting {where!r}.{_nearest_key(where, kind, page)}"
    else:
        message = f"{where} = {_shown(first['input'])} is not valid: {first['msg']}."
        message += _documented(where, kind)
    return message + (f" ({len(problems) - 1} more problems.)" if len(problems) > 1 else "")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        return "something nested too deeply"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _dotted(location: tuple[int | str, ...], kind: type[BaseModel]) -> str:
    """The key as the user wrote it: pydantic appends list positions and union branches."""
    known: type[BaseModel] | None = kind
    parts = []
    for part in location:
        parts.append(str(part))
        if known is None or part not in known.model_fields:
            break
        known = section_of(known.model_fields[str(part)].annotation)
    return ".".join(parts)


def _nearest_key(key: str, kind: type[BaseModel], page: str) -> str:
    keys = list(all_keys(kind))
    # The last word may be right and its section wrong: `train.lr`.
    word = key.rsplit(".", 1)[-1]
    same_word = [known for known in keys if known.rsplit(".", 1)[-1] == word]
    near = difflib.get_close_matches(key, same_word, n=1, cutoff=0.0)
    if not near:
        sections = {known.rsplit(".", depth)[0] for known in keys for depth in range(1, known.count(".") + 1)}
        near = difflib.get_close_matches(key, [*keys, *sorted(sections)], n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else f" The settings are listed in {page}."


def _documented(key: str, kind: type[BaseModel]) -> str:
    section: type[BaseModel] | None = kind
    *path, leaf = key.split(".")
    for part in path:
        field = section.model_fields.get(part) if section else None
        section = section_of(field.annotation) if field else None
    field = section.model_fields.get(leaf) if section else None
    if field is None or section_of(field.annotation):
        return ""
    return f" Meaning: {' '.join(field.description.split())}" if field.description else ""
