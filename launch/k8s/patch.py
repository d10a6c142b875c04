"""--patch: what a cluster wants that no flag says, laid over the objects that were made.

A patch is YAML in the form of `kubectl patch`: each document names a kind, and perhaps a name, and is merged into
every object of that kind, a set's Jobs included. Maps are merged, lists whose items have a name by that name; other
lists are replaced; null removes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tsal_dist.errors import ConfigError, MissingExtra

# The API's own merge keys for what a run's objects hold.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "replicatedJobs": "name",
}


def patch_objects(text: str, file: Path) -> str:
    """The objects of a YAML text with the file's patches applied, and without the text's comments."""
    try:
        import yaml
    except ImportError:
        raise MissingExtra("yaml", "k8s", "--patch") from None
    # Through JSON: what the text says once and refers to becomes a copy in each place.
    objects = json.loads(json.dumps(list(yaml.safe_load_all(text))))
    try:
        patches = [patch for patch in yaml.safe_load_all(file.read_text()) if patch]
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"--patch {file} cannot be read: {error}.") from None
    for patch in patches:
        if not isinstance(patch, dict) or "kind" not in patch:
            raise ConfigError(
                f"--patch {file} has a document without a kind. Begin it with one, such as kind: Job."
            )
        name = patch.get("metadata", {}).get("name")
        found = [
            one for one in _targets(objects) if one["kind"] == patch["kind"] and name in (None, _name(one))
        ]
        if not found:
            known = ", ".join(sorted(f"{one['kind']} {_name(one)}" for one in _targets(objects)))
            raise ConfigError(
                f"--patch {file} is for a {patch['kind']} {name or ''}".rstrip()
                + f", and there is none. There are: {known}."
            )
        for one in found:
            try:
                merged = merge(one, patch)
            except (KeyError, TypeError, AttributeError):
                keys = ", ".join(f"{key} by {by}" for key, by in MERGE_KEYS.items())
                raise ConfigError(
                    f"--patch {file} does not fit the {patch['kind']} {_name(one)}: items of these lists are told apart by what "
                    f"each must say of itself ({keys})."
                ) from None
            one.clear()
            one.update(merged)
    for one in objects:
        _restore(one)
    return str(yaml.safe_dump_all(objects, sort_keys=False, width=120))


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, as the API merges a strategic patch."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        elif isinstance(value, list) and key in MERGE_KEYS:
            merged[key] = _merge_lists(merged.get(key, []), value, MERGE_KEYS[key])
        else:
            merged[key] = value
    return merged


def _merge_lists(below: list[Any], above: list[Any], key: str) -> list[Any]:
    named = {item[key]: item for item in below}
    for item in above:
        named[item[key]] = merge(named.get(item[key], {}), item)
    return list(named.values())


def _targets(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every object, and the Jobs within a set under the names that they would have by themselves."""
    for one in objects:
        yield one
        for job in one["spec"]["replicatedJobs"] if one["kind"] == "JobSet" else ():
            template = job["template"]
            template.setdefault("kind", "Job")
            template.setdefault("metadata", {}).setdefault("name", f"{_name(one)}-{job['name']}")
            yield template


def _restore(one: dict[str, Any]) -> None:
    """Take back what `_targets` and patches have lent to the Jobs of a set: a template has no kind, version or name, and the
    API refuses fields that it does not know."""
    for job in one["spec"]["replicatedJobs"] if one["kind"] == "JobSet" else ():
        template = job["template"]
        template.pop("kind", None)
        template.pop("apiVersion", None)
        template["metadata"].pop("name", None)
        if not template["metadata"]:
            template.pop("metadata")


def _name(one: dict[str, Any]) -> str:
    return str(one["metadata"]["name"])
