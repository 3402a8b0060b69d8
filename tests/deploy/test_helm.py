"""The chart, rendered: what it makes is shut in, fits together, and is told settings that exist."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from proxy import __version__
from proxy.config.load import load
from proxy.config.settings import Settings
from proxy.policy.models import canonical_pattern
from proxy.web.back_door import METRICS
from proxy.web.health import HEALTH, READY
from tests.deploy.dockerfile import stages
from tests.fakes.helm import NotRendered, Values, merged, parsed, rendered

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/llamagate"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text())
LEAST: Values = {"secret": {"name": "gate-secrets"}}
MOST: Values = merged(
    LEAST,
    {
        "replicaCount": 3,
        "image": {"repository": "registry.example.org/llamagate", "digest": f"sha256:{'a' * 64}"},
        "imagePullSecrets": [{"name": "pull"}],
        "env": {"LLAMAGATE_LOG_LEVEL": "debug", "LLAMAGATE_TIME_ZONE": "Europe/Berlin"},
        "trustedProxies": ["10.42.0.0/16", "fd00::/8"],
        "ollama": {"namespace": "models", "podLabels": {"app": "ollama", "tier": "gpu"}},
        "persistence": {"enabled": False},
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "ingress": {"enabled": True},
        "networkPolicy": {"from": [{"podSelector": {"matchLabels": {"app": "ingress"}}}]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podLabels": {"team": "llm"},
        "podAnnotations": {"note": "yes"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    },
)
BOTH = pytest.mark.parametrize("values", [LEAST, MOST], ids=["least", "most"])
HELM = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@cache
def _made(values: str) -> list[dict[str, Any]]:
    return rendered(CHART, json.loads(values))


def made(values: Values) -> list[dict[str, Any]]:
    """The objects, which nobody changes."""
    return _made(json.dumps(values))


def of(kind: str, values: Values, name: str = "gate-llamagate") -> dict[str, Any]:
    (found,) = (one for one in made(values) if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def pod(values: Values) -> dict[str, Any]:
    return dict(of("StatefulSet", values)["spec"]["template"]["spec"])


def gate(values: Values) -> dict[str, Any]:
    (only,) = pod(values)["containers"]
    return dict(only)


def settings(values: Values) -> Settings:
    """What the gate makes of its image's environment, the pod's, and the file."""
    told = {one["name"]: one["value"] for one in gate(values)["env"]}
    image = stages((ROOT / "deploy/Dockerfile").read_text())[-1].environment
    secrets = {
        "database_url": "postgresql://llamagate:8c1f@db/llamagate",
        "redis_url": "rediss://gate:8c1f0a77d2@redis:6379/0",
        "pepper": "0123456789abcdef0123456789abcdef",
    }
    return load(
        text=of("ConfigMap", values)["data"]["llamagate.toml"],
        file="llamagate.toml",
        environment={**image, **told},
        flags={},
        read_secret=lambda path: secrets[Path(path).name],
        check_pattern=canonical_pattern,
    ).settings


@BOTH
def test_every_object_has_a_kind_a_name_and_whose_it_is(values: Values) -> None:
    objects = made(values)

    assert len(objects) == len({(one["kind"], one["metadata"]["name"]) for one in objects})
    for one in objects:
        assert one["apiVersion"]
        assert "llamagate" == one["metadata"]["labels"]["app.kubernetes.io/name"]
        assert "gate" == one["metadata"]["labels"]["app.kubernetes.io/instance"]


@BOTH
def test_whatever_selects_pods_selects_the_gates(values: Values) -> None:
    labels = of("StatefulSet", values)["spec"]["template"]["metadata"]["labels"]
    selectors = [
        of("StatefulSet", values)["spec"]["selector"]["matchLabels"],
        of("Service", values)["spec"]["selector"],
        of("Service", values, "gate-llamagate-admin")["spec"]["selector"],
        of("PodDisruptionBudget", values)["spec"]["selector"]["matchLabels"],
        of("NetworkPolicy", values)["spec"]["podSelector"]["matchLabels"],
        of("NetworkPolicy", values, "gate-llamagate-ollama")["spec"]["ingress"][0]["from"][0]["podSelector"][
            "matchLabels"
        ],
        pod(values)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]

    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


@BOTH
def test_every_port_that_is_named_is_one_of_the_gate(values: Values) -> None:
    container = gate(values)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    told = settings(values)

    assert {"http": int(told.listen.rpartition(":")[2]), "admin": 11436} == ports
    assert f"0.0.0.0:{ports['admin']}" == told.admin_listen
    assert {"startupProbe": HEALTH, "livenessProbe": HEALTH, "readinessProbe": READY} == {
        name: probe["path"] for name, probe in probes.items()
    }
    assert {"admin"} == {probe["port"] for probe in probes.values()}
    for name in ("gate-llamagate", "gate-llamagate-admin"):
        assert {port["targetPort"] for port in of("Service", values, name)["spec"]["ports"]} <= ports.keys()


@BOTH
def test_the_gate_is_shut_in(values: Values) -> None:
    around, container = pod(values), gate(values)

    assert {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    } == around["securityContext"]
    assert {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert (False, False) == (around["automountServiceAccountToken"], around["enableServiceLinks"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & around.keys()
    assert [] == [volume for volume in around["volumes"] if "hostPath" in volume]
    assert {"memory"} == container["resources"]["limits"].keys()


@BOTH
def test_every_mount_has_its_volume_and_what_is_told_is_read_only(values: Values) -> None:
    mounts = {mount["name"]: mount for mount in gate(values)["volumeMounts"]}
    claims = of("StatefulSet", values)["spec"].get("volumeClaimTemplates", [])
    volumes = {volume["name"] for volume in pod(values)["volumes"]} | {claim["metadata"]["name"] for claim in claims}

    assert volumes == mounts.keys()
    assert {"config", "secret"} == {name for name, mount in mounts.items() if mount.get("readOnly")}
    assert mounts["state"]["mountPath"] == str(settings(values).state_dir.parent)


@BOTH
def test_the_gate_understands_all_that_it_is_told(values: Values) -> None:
    told = settings(values)
    replicas = of("StatefulSet", values)["spec"]["replicas"]

    assert replicas == told.replicas
    assert "postgresql+asyncpg://llamagate:8c1f@db/llamagate" == told.database
    assert told.redis is not None
    assert told.pepper is not None
    assert values.get("trustedProxies", []) == list(told.trusted_proxies)


@BOTH
def test_kubernetes_is_more_patient_than_the_gate(values: Values) -> None:
    told = settings(values)

    assert pod(values)["terminationGracePeriodSeconds"] >= told.drain_delay + told.drain_timeout + 5
    assert told.drain_delay > gate(values)["readinessProbe"]["periodSeconds"]


def test_no_secret_is_in_any_object_but_by_its_name() -> None:
    text = json.dumps(made(MOST))

    assert "Secret" not in {one["kind"] for one in made(MOST)}
    assert "gate-secrets" in text
    assert "_URL_FILE" in text
    assert '"LLAMAGATE_DATABASE_URL"' not in text


@BOTH
def test_nobody_but_the_gates_reaches_ollama(values: Values) -> None:
    policy = of("NetworkPolicy", values, "gate-llamagate-ollama")
    ollama = merged(DEFAULTS, values)["ollama"]
    (rule,) = policy["spec"]["ingress"]
    (only,) = rule["from"]

    assert ollama["podLabels"] == policy["spec"]["podSelector"]["matchLabels"]
    assert (ollama["namespace"] or "default") == policy["metadata"]["namespace"]
    assert [{"port": 11434, "protocol": "TCP"}] == rule["ports"]
    assert {"namespaceSelector", "podSelector"} == only.keys()
    assert {"kubernetes.io/metadata.name": "default"} == only["namespaceSelector"]["matchLabels"]


def test_metrics_are_for_monitoring_alone() -> None:
    calls, metrics = of("NetworkPolicy", MOST)["spec"]["ingress"]

    assert [{"podSelector": {"matchLabels": {"app": "ingress"}}}] == calls["from"]
    assert "from" not in of("NetworkPolicy", LEAST)["spec"]["ingress"][0]
    assert ["admin"] == [port["port"] for port in metrics["ports"]]
    assert metrics["from"]


def test_the_monitor_finds_the_metrics_of_every_gate() -> None:
    monitor, service = of("ServiceMonitor", MOST), of("Service", MOST, "gate-llamagate-admin")
    (endpoint,) = monitor["spec"]["endpoints"]

    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert not monitor["spec"]["selector"]["matchLabels"].items() <= of("Service", MOST)["metadata"]["labels"].items()
    assert [endpoint["port"]] == [port["name"] for port in service["spec"]["ports"]]
    assert (METRICS, "None") == (endpoint["path"], service["spec"]["clusterIP"])


def test_the_alerts_know_a_gate_by_its_job_whatever_it_is_called() -> None:
    values = merged(MOST, {"fullnameOverride": "door"})
    (endpoint,) = of("ServiceMonitor", values, "door")["spec"]["endpoints"]
    (job,) = (rule["replacement"] for rule in endpoint["relabelings"] if rule["targetLabel"] == "job")
    known = re.findall(r'job=~"([^"]+)"', (ROOT / "deploy/prometheus/alerts.yml").read_text())

    assert known
    assert [] == [pattern for pattern in known if not re.fullmatch(pattern, job)]


def test_a_balancer_is_told_not_to_hide_who_asks() -> None:
    assert "Local" == of("Service", MOST)["spec"]["externalTrafficPolicy"]
    assert "externalTrafficPolicy" not in of("Service", LEAST)["spec"]


def test_an_ingress_lets_streams_through_and_waits_longer_than_the_gate() -> None:
    notes = of("Ingress", MOST)["metadata"]["annotations"]
    stem = "nginx.ingress.kubernetes.io/proxy"

    assert ("off", "off") == (notes[f"{stem}-buffering"], notes[f"{stem}-request-buffering"])
    assert int(notes[f"{stem}-read-timeout"]) > Settings().first_byte_timeout
    assert "gate-llamagate" == of("Ingress", MOST)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"]


def test_a_changed_configuration_makes_new_gates() -> None:
    def checksum(values: Values) -> str:
        return str(of("StatefulSet", values)["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum(LEAST) != checksum(merged(LEAST, {"config": "# none\n"}))


def test_the_image_is_named_by_digest_where_there_is_one() -> None:
    assert f"llamagate:{__version__}" == gate(LEAST)["image"]
    assert f"registry.example.org/llamagate@sha256:{'a' * 64}" == gate(MOST)["image"]


def test_without_the_name_of_a_secret_nothing_is_made() -> None:
    with pytest.raises(NotRendered, match=r"secret\.name is empty"):
        rendered(CHART, {})


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert (__version__, __version__) == (chart["version"], chart["appVersion"])


def test_what_the_chart_says_by_itself_is_in_its_schema_and_well_formed() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    for values in (LEAST, MOST):
        jsonschema.validate(merged(DEFAULTS, values), SCHEMA)

    assert DEFAULTS.keys() == SCHEMA["properties"].keys() - {"global"}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"secret": {"name": ""}},
        {**LEAST, "replicas": 3},
        {**LEAST, "replicaCount": 0},
        {**LEAST, "env": {"OLLAMA_HOST": "x"}},
        {**LEAST, "env": {"LLAMAGATE_PEPPER": "x"}},
        {**LEAST, "ollama": {"url": "ollama:11434"}},
        {**LEAST, "ollama": {"podLabels": None}},
        {**LEAST, "image": {"tag": "latest"}},
        {**LEAST, "image": {"digest": "sha256:12"}},
    ],
)
def test_what_makes_no_sense_is_refused_by_the_schema(wrong: Values) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(DEFAULTS, wrong), SCHEMA)


@BOTH
def test_helm_itself_makes_the_same_of_it(values: Values, tmp_path: Path) -> None:
    if HELM is None:
        pytest.skip("there is no helm here")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    command = [
        HELM,
        "template",
        "gate",
        str(CHART),
        "--namespace",
        "default",
        "--values",
        str(tmp_path / "values.yaml"),
    ]
    told = subprocess.run([*command, "--kube-version", "1.30"], capture_output=True, text=True, check=True).stdout

    def by_name(objects: Any) -> dict[tuple[str, str], Any]:
        return {(one["kind"], one["metadata"]["name"]): one for one in objects if one}

    assert by_name(yaml.safe_load_all(told)) == by_name(made(values))


def test_a_template_that_is_not_understood_is_an_error_and_no_empty_text() -> None:
    for text in ("{{ if true }}never ended", "{{ end }}"):
        with pytest.raises(NotRendered):
            parsed(text)


def test_every_file_of_the_chart_is_rendered_in_one_of_the_two_ways() -> None:
    kinds = {one["kind"] for one in itertools.chain(made(LEAST), made(MOST))}

    assert {
        *("ConfigMap", "Ingress", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"),
        *("ServiceMonitor", "StatefulSet"),
    } == kinds
