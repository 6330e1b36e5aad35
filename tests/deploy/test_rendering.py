"""What Helm and kustomize render is what Kubernetes, Dapr and the other operators' definitions take."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.deploy.conftest import NAMES, Rendered
from tests.deploy.rendering import CHART, ROOT, VALUES, RefusedError, helm_template, run, validate
from tests.deploy.toolbox import SKAFFOLD_SCHEMA, Toolbox


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_to_say(box: Toolbox, values: str) -> None:
    run(box.helm, "lint", "--strict", CHART, *VALUES[values])


@pytest.mark.parametrize("name", NAMES)
def test_everything_rendered_fits_its_schema(box: Toolbox, rendered: Rendered, name: str) -> None:
    summary = validate(box, rendered(name))
    assert "Invalid: 0, Errors: 0, Skipped: 0" in summary
    assert "Summary: 0 resources" not in summary


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("containerPort: 8000", "containerPort: eight"),
        ("maxUnavailable: 0", "maxUnavailabel: 0"),
        ("httpVerb:", "httpVerbs:"),
        ("kind: Resiliency", "kind: Resilience"),
        ("kind: ExternalSecret", "kind: ExternalSecrets"),
        ("refreshInterval:", "refresh:"),
    ],
)
def test_what_does_not_fit_is_refused(box: Toolbox, rendered: Rendered, before: str, after: str) -> None:
    text = rendered("chart-production") + "---\n" + rendered("cluster-production")
    assert before in text
    with pytest.raises(RefusedError):
        validate(box, text.replace(before, after, 1))


@pytest.mark.parametrize(
    "values",
    [
        "services.task-api.port=99999",
        "image.tag=latest",
        "autoscaling.minReplica=3",
        "services.task-api.secretSettings.DATABASE_URL=postgresql://user:password@host/name",
        "services.notifier.settings.mail_from=x",
        "replicas=0",
    ],
)
def test_values_that_cannot_be_meant_stop_helm(box: Toolbox, values: str) -> None:
    with pytest.raises(RefusedError, match=values.partition("=")[0].split(".")[-1]):
        helm_template(box, "--set", values)


def test_dapr_knows_the_values_that_its_chart_is_given(box: Toolbox, tmp_path: Path) -> None:
    chart = shutil.copytree(box.dapr_chart, tmp_path / "dapr")
    given = yaml.safe_load((ROOT / "k8s/dapr-values.yaml").read_text(encoding="utf-8"))
    known = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    injector = yaml.safe_load(
        (chart / "charts/dapr_sidecar_injector/values.yaml").read_text(encoding="utf-8")
    )
    assert given["global"].keys() <= known["global"].keys()
    assert given["global"]["mtls"].keys() <= known["global"]["mtls"].keys()
    assert given["dapr_sidecar_injector"].keys() <= injector.keys()


def test_skaffold_reads_its_file(box: Toolbox) -> None:
    schema = json.loads(box.skaffold_schema.read_text(encoding="utf-8"))
    configs = list(yaml.safe_load_all((ROOT / "skaffold.yaml").read_text(encoding="utf-8")))
    for config in configs:
        jsonschema.validate(config, schema)
        assert config["apiVersion"] == f"skaffold/{SKAFFOLD_SCHEMA}"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**configs[1], "builds": {}}, schema)
