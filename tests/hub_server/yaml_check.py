"""The check of a card's metadata that the Hub runs on every README.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.hub_server.exchange import Request, Response, route

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer

RELATIONS = ("adapter", "finetune", "merge", "quantized")
LICENSES = (
    "apache-2.0", "mit", "bsd-3-clause", "bsd-3-clause-clear", "bsd-2-clause", "cc-by-4.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "gpl-3.0", "agpl-3.0", "mpl-2.0", "openrail",
    "bigcode-openrail-m", "bigscience-openrail-m", "bigscience-bloom-rail-1.0", "llama2",
    "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma", "unknown", "other",
)  # fmt: skip
_REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def front_matter(text: str) -> Any:
    """The YAML block at the start of a card, or None."""
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---(\r?\n|$)", text, re.DOTALL)
    if not match:
        return None
    try:
        return yaml.safe_load(match.group(1))
    except yaml.YAMLError:
        return "not YAML"


@route("POST", r"/api/validate-yaml")
def validate(hub: HubServer, request: Request) -> Response:
    payload = request.json()
    data = front_matter(payload["content"])
    if data is None:
        warning = {"message": "empty or missing yaml metadata in repo card"}
        return Response.json({"errors": [], "warnings": [warning]})
    kind = payload.get("repoType") or "model"
    errors = problems(data, kind)
    answer = {"errors": [{"message": text} for text in errors], "warnings": []}
    return Response.json(answer, 400 if errors else 200)


def problems(data: Any, kind: str = "model") -> list[str]:
    """Everything the Hub would not accept in the metadata of a card."""
    if not isinstance(data, dict):
        return ["YAML Metadata must be a mapping"]
    found = []
    license_name = data.get("license")
    if license_name is not None and license_name not in LICENSES:
        found.append(f'"license" must be one of the known licenses, not {license_name!r}')
    if license_name == "other" and not data.get("license_name"):
        found.append('"license_name" is required when "license" is "other"')
    for key in ("base_model", "datasets", "dataset"):
        for value in _listed(data.get(key)):
            if not isinstance(value, str) or not _REPO_ID.fullmatch(value):
                found.append(f'"{key}" with value {value!r} is not valid: use a Hub id')
    if data.get("base_model_relation", "finetune") not in RELATIONS:
        found.append(f'"base_model_relation" must be one of {", ".join(RELATIONS)}')
    for key in ("tags", "datasets", "language", "metrics"):
        if any(not isinstance(value, str) for value in _listed(data.get(key))):
            found.append(f'"{key}" must be an array of strings')
    for key in ("library_name", "pipeline_tag", "pretty_name"):
        if key in data and not isinstance(data[key], str):
            found.append(f'"{key}" must be a string')
    if kind == "model" and "model-index" in data:
        found += _index_problems(data["model-index"])
    return found


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _index_problems(index: Any) -> list[str]:
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    found = []
    for number, model in enumerate(index):
        where = f"model-index[{number}]"
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            found.append(f'"{where}.name" is required')
            continue
        if not isinstance(model.get("results"), list) or not model["results"]:
            found.append(f'"{where}.results" must be a non-empty array')
            continue
        for place, result in enumerate(model["results"]):
            found += _result_problems(result, f"{where}.results[{place}]")
    return found


def _result_problems(result: Any, where: str) -> list[str]:
    found = []
    for part, key in (("task", "type"), ("dataset", "type"), ("dataset", "name")):
        if not isinstance((result.get(part) or {}).get(key), str):
            found.append(f'"{where}.{part}.{key}" is required')
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        return [*found, f'"{where}.metrics" must be a non-empty array']
    for place, metric in enumerate(metrics):
        if not isinstance(metric.get("type"), str):
            found.append(f'"{where}.metrics[{place}].type" is required')
        if metric.get("value") is None:
            found.append(f'"{where}.metrics[{place}].value" is required')
    source = result.get("source")
    if source is not None and not str(source.get("url", "")).startswith(("http://", "https://")):
        found.append(f'"{where}.source.url" must be a URL')
    return found
