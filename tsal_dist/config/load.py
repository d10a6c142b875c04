"""TOML files left to right, then dotted overrides, then one frozen RunConfig or one clear error."""

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tsal_dist.address import refuse_secrets, shown
from tsal_dist.config.moved import refuse_moved
from tsal_dist.config.run import RunConfig, check_sections
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
        _lay_over(tree, _read(Path(file)))
    _lay_over(tree, _parse_overrides(overrides))
    if files and isinstance(tree.setdefault("run", {}), dict) and not tree["run"].get("name"):
        tree["run"]["name"] = Path(files[-1]).stem
    return build_config(tree)


def build_config(tree: Mapping[str, Any], where: str = "") -> RunConfig:
    """A RunConfig from nested mappings; sweeps and run.json use this. `where` begins every message."""
    _refuse_secrets(tree, where)
    refuse_moved(tree, where)
    try:
        config = RunConfig.model_validate(tree)
        check_sections(config)
    except (ValidationError, ConfigError) as error:
        text = _explain(error) if isinstance(error, ValidationError) else str(error)
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


def _read(path: Path) -> Tree:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"There is no config file {str(path)!r}.{_nearest_file(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{str(path)!r} is a folder; name the TOML file in it.") from None
    except OSError as error:
        raise ConfigError(f"The config file {str(path)!r} cannot be read: {error.strerror}.") from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply.") from None
    except ValueError as error:  # TOML's own, other encodings, numbers with thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None


def _nearest_file(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("configs")
    names = [str(other) for other in sorted(folder.glob("*.toml"))]
    near = difflib.get_close_matches(str(path), names, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {near[0]!r}?"
    return (
        f" {folder} holds: {', '.join(names)}."
        if names
        else " Name one that is there, or none: every setting has a default."
    )


def _parse_override(text: str) -> Tree:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or key.count(".") > _DEEPEST:
        raise ConfigError(f"The override {shown(text)!r} is not of the form section.key=value.")
    leaf = _parse_value(value.strip())
    for part in reversed(key.split(".")):
        leaf = {part: leaf}
    return leaf  # type: ignore[no-any-return]


def _parse_value(text: str) -> Any:
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


def _explain(error: ValidationError) -> str:
    """The first problem as one sentence; how many more there are."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    where = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        message = f"There is no setting {where!r}.{_nearest_key(where)}"
    else:
        message = f"{where} = {_shown(first['input'])} is not valid: {first['msg']}."
        message += _documented(where)
    return message + (f" ({len(problems) - 1} more problems.)" if len(problems) > 1 else "")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        return "something nested too deeply"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _dotted(location: tuple[int | str, ...]) -> str:
    """The key as the user wrote it: pydantic appends list positions and union branches."""
    known: type[BaseModel] | None = RunConfig
    parts = []
    for part in location:
        parts.append(str(part))
        if known is None or part not in known.model_fields:
            break
        known = section_of(known.model_fields[str(part)].annotation)
    return ".".join(parts)


def _nearest_key(key: str) -> str:
    keys = list(all_keys())
    # The last word may be right and its section wrong: `train.lr`.
    word = key.rsplit(".", 1)[-1]
    same_word = [known for known in keys if known.rsplit(".", 1)[-1] == word]
    near = difflib.get_close_matches(key, same_word, n=1, cutoff=0.0)
    if not near:
        sections = {known.rsplit(".", depth)[0] for known in keys for depth in range(1, known.count(".") + 1)}
        near = difflib.get_close_matches(key, [*keys, *sorted(sections)], n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else " The settings are listed in docs/configuration.md."


def _documented(key: str) -> str:
    section: type[BaseModel] | None = RunConfig
    *path, leaf = key.split(".")
    for part in path:
        field = section.model_fields.get(part) if section else None
        section = section_of(field.annotation) if field else None
    field = section.model_fields.get(leaf) if section else None
    if field is None or section_of(field.annotation):
        return ""
    return f" Meaning: {' '.join(field.description.split())}" if field.description else ""
