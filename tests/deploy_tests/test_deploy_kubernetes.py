"""KubeRay manifests and the Helm chart: held to the schemas of Kubernetes, KubeRay and Ray Serve, and to the project.

`helm` is looked for on the PATH. KUBERAY_CRDS may name a folder with KubeRay's `ray.io_*.yaml`
(ray-operator/config/crd/bases): a megabyte each, so they are not kept here.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from dspex_agents.settings import Settings
from tests.support.deploy_files import DEPLOY, documents, strings, told, tool, unknown_words

KUBERNETES = "1.34"
CHART = DEPLOY / "helm" / "dspex-ray"
MANIFESTS = {
    "rayservice.yaml": [],
    "rayjob.yaml": ["--set", "endpoint.enabled=false,optimize.enabled=true"],
}
KEPT = [each for name in MANIFESTS for each in documents((DEPLOY / "kuberay" / name).read_text(encoding="utf-8"))]
CRON = ["--set", "endpoint.enabled=false,optimize.enabled=true", "--set-string", "optimize.schedule=0 3 * * 1"]


@pytest.fixture
def helm() -> str:
    found = tool("helm")
    if found is None:
        pytest.skip("helm is not installed")
    return found


@pytest.fixture
def kuberay_schemas() -> dict[str, Any]:
    folder = os.environ.get("KUBERAY_CRDS")
    if not folder:
        pytest.skip("KUBERAY_CRDS names no folder with KubeRay's custom resource definitions")
    kept = {}
    for path in Path(folder).glob("ray.io_*.yaml"):
        definition = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)["spec"]  # 1 MB: 15 s in pure Python
        version = next(each for each in definition["versions"] if each["name"] == "v1")
        kept[definition["names"]["kind"]] = closed(version["schema"]["openAPIV3Schema"])
    return kept


def closed(schema: Any) -> Any:
    """Return a schema that takes no fields it does not name, as `kubectl apply --validate=strict` does."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: closed(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept["additionalProperties"] = False
    return kept


def rendered(helm: str, *options: str) -> list[Any]:
    result = told([helm, "template", "dspex-ray", CHART, *options])
    assert result.returncode == 0, result.stderr
    return documents(result.stdout)


def jobs(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if resource["kind"] == "RayJob":
        yield resource["spec"]
    elif resource["kind"] == "RayCronJob":
        yield resource["spec"]["jobTemplate"]


def clusters(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if resource["kind"] == "RayService":
        yield resource["spec"]["rayClusterConfig"]
    for job in jobs(resource):
        yield job["rayClusterSpec"]


def pods(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for cluster in clusters(resource):
        for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())):
            yield group["template"]


def check(resources: list[Any]) -> None:
    """Hold resources to all that needs no tool; raises AssertionError or a schema's error."""
    assert resources
    for resource in resources:
        if not resource["apiVersion"].startswith("ray.io/"):
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        for cluster in clusters(resource):
            assert cluster["authOptions"]["mode"] == "token"
        for pod in pods(resource):
            whole = {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {**pod["metadata"], "name": "checked"}}
            kubernetes_validate.validate(whole, KUBERNETES, strict=True)
            check_pod(pod["spec"])
        for job in jobs(resource):
            words = shlex.split(job["entrypoint"])
            assert words[0] == "dspex"
            assert not unknown_words(words[1:])
            assert job["shutdownAfterJobFinishes"]


def check_pod(spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert re.search(r":v?\d", container["image"])
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= container["resources"].keys()
        assert {"livenessProbe", "readinessProbe"} <= container.keys()
        check_environment(container.get("env", []))


def check_environment(variables: list[dict[str, Any]]) -> None:
    secret = re.compile(r"STORE|TOKEN|PASSWORD|API_KEY")
    assert not [each["name"] for each in variables if secret.search(each["name"]) and "value" in each]
    named = [each["name"] for each in variables if each["name"].startswith("DSPEX_")]
    read = Settings.from_env(dict.fromkeys(named, "x"))
    assert [read.lm, read.store].count("x") == len(named)


def test_the_manifests_hold_to_the_schemas_of_kubernetes_and_to_our_rules() -> None:
    check(KEPT)
    assert {each["kind"] for each in KEPT} >= {"RayService", "RayJob", "NetworkPolicy", "ServiceAccount"}


def test_ray_serve_takes_the_configuration_and_the_project_its_arguments() -> None:
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - loads Ray Serve

    from dspex_ray.serving.serve_config import Served  # noqa: PLC0415 - likewise

    service = next(each for each in KEPT if each["kind"] == "RayService")
    config = ServeDeploySchema.model_validate(documents(service["spec"]["serveConfigV2"])[0])
    assert config.http_options.host == "127.0.0.1"
    for application in config.applications:
        module, _, name = application.import_path.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
        asked = Served.model_validate(application.args)
        assert application.name == asked.name
        assert application.route_prefix == f"/{asked.name}"


def test_serve_s_mode_is_the_one_that_dspex_deploy_chooses() -> None:
    from dspex_ray.serving import mode  # noqa: PLC0415 - beside the others that are loaded where they are used

    ports = mode.FrontPorts(stats=1, metrics=2, fallback=3)
    chosen = mode.serve_environment(folder="/f", ports=ports, cpus=4, file_limit=1024)
    service = next(each for each in KEPT if each["kind"] == "RayService")
    head = next(pods(service))["spec"]["containers"][0]
    given = {each["name"]: each["value"] for each in head["env"] if each["name"].startswith("RAY_SERVE_")}
    assert given
    assert {name: chosen[name] for name in given} == given


def test_ray_answers_the_probes_of_its_nodes_without_a_token() -> None:
    from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS  # noqa: PLC0415 - loads Ray

    nodes = [each for r in KEPT for pod in pods(r) for each in pod["spec"]["containers"] if each["name"] != "front"]
    assert {each["name"] for each in nodes} == {"ray-head", "ray-worker"}
    for each in nodes:
        for probe in ("livenessProbe", "readinessProbe"):
            assert each[probe]["httpGet"]["path"] in PUBLIC_EXACT_PATHS


def test_only_the_front_s_port_is_open_to_callers() -> None:
    policy = next(each for each in KEPT if each["kind"] == "NetworkPolicy")["spec"]
    labels = policy["podSelector"]["matchLabels"]
    for resource in KEPT:
        for pod in pods(resource):
            assert labels.items() <= pod["metadata"]["labels"].items()
    ports = [[port["port"] for port in rule.get("ports", ())] for rule in policy["ingress"]]
    assert ports == [[], [8265, 8088], [8088]]
    assert policy["ingress"][0]["from"] == [{"podSelector": {"matchLabels": labels}}]
    assert "bind :8088" in (DEPLOY / "front.cfg").read_text(encoding="utf-8")


def test_every_value_of_the_chart_is_in_its_schema_and_no_other_is_taken() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = documents((CHART / "values.yaml").read_text(encoding="utf-8"))[0]
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema, cls=jsonschema.Draft7Validator)
    assert set(values) == set(schema["properties"]) - {"global"}
    with pytest.raises(jsonschema.ValidationError, match="endpiont"):
        jsonschema.validate({**values, "endpiont": {}}, schema, cls=jsonschema.Draft7Validator)
    assert not [text for text in strings(values) if re.search(r"://[^/\s:]+:[^/\s]+@", text)]


def test_helm_finds_nothing_in_the_chart(helm: str) -> None:
    result = told([helm, "lint", "--strict", CHART])
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_manifests_are_what_helm_makes_of_the_chart(helm: str, name: str) -> None:
    kept = documents((DEPLOY / "kuberay" / name).read_text(encoding="utf-8"))
    assert rendered(helm, *MANIFESTS[name]) == kept


def test_a_schedule_makes_a_cron_job_of_the_job(helm: str) -> None:
    made = rendered(helm, *CRON)
    check(made)
    cron = next(each for each in made if each["kind"] == "RayCronJob")
    job = next(each for each in KEPT if each["kind"] == "RayJob")
    assert cron["spec"]["jobTemplate"] == job["spec"]
    assert "RayJob" not in {each["kind"] for each in made}


@pytest.mark.parametrize(
    ("wrong", "about"),
    [
        ("image.tag=latest", "tag"),
        ("endpoint.name=a/b", "name"),
        ("endpiont.name=x", "endpiont"),
        ("optimize.trials=0", "trials"),
        ("rayVersion=2.50.0", "rayVersion"),
        ("program=no-colon", "program"),
    ],
)
def test_helm_refuses_a_wrong_value_and_names_it(helm: str, wrong: str, about: str) -> None:
    result = told([helm, "template", CHART, "--set", wrong])
    assert result.returncode != 0
    assert about in result.stderr


def test_only_named_monitors_reach_ray_s_own_figures(helm: str) -> None:
    made = rendered(helm, "--set", "networkPolicy.monitors[0].podSelector.matchLabels.app=prometheus")
    check(made)
    policy = next(each for each in made if each["kind"] == "NetworkPolicy")["spec"]
    assert policy["ingress"][-1] == {
        "from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
        "ports": [{"protocol": "TCP", "port": 8080}],
    }


def test_what_is_switched_off_is_not_made(helm: str) -> None:
    off = ["networkPolicy.enabled", "podDisruptionBudget.enabled", "serviceAccount.create", "endpoint.enabled"]
    assert rendered(helm, "--set", ",".join(f"{name}=false" for name in off)) == []


def test_kuberay_s_own_schemas_take_the_resources_and_would_refuse_an_unknown_field(
    kuberay_schemas: dict[str, Any],
) -> None:
    ray = [each for each in KEPT if each["apiVersion"] == "ray.io/v1"]
    if (helm := tool("helm")) is not None:
        ray += [each for each in rendered(helm, *CRON) if each["kind"] == "RayCronJob"]
    for each in ray:
        schema = jsonschema.Draft202012Validator(kuberay_schemas[each["kind"]])
        assert [error.message for error in schema.iter_errors(each)] == []
        misspelt = {**each, "spec": {**each["spec"], "unheardOf": 1}}
        assert ["unheardOf" in error.message for error in schema.iter_errors(misspelt)] == [True]
