"""What runbooks and documents have an operator type does what they say, as far as that shows without a cluster."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.deploy.conftest import Rendered
from tests.deploy.rendering import OVERLAYS, ROOT, Manifest, Pod, kustomize, named, parse, pods, run, validate
from tests.deploy.toolbox import Toolbox

Objects = Callable[[str], list[Manifest]]
RUNBOOK = (ROOT / "docs/runbooks/backup-restore.md").read_text(encoding="utf-8")


def _only(objects: list[Manifest], name: str) -> Pod:
    (pod,) = (one for one in pods(objects) if one.owner["metadata"]["name"] == name)
    return pod


def _typed(part: str) -> str:
    """The program of the one `sed` of the runbook that is followed by `part`."""
    (program,) = re.findall(rf"sed '([^']+)' \| {re.escape(part)}", RUNBOOK)
    return str(program)


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_operators_pod_reaches_what_the_doctor_reaches_and_waits_to_be_wanted(
    objects: Objects, which: str
) -> None:
    chart = objects(f"chart-{which}")
    operator, doctor = _only(chart, "operator"), _only(chart, "taskstream-doctor")
    assert operator.owner["spec"]["replicas"] == 0
    (here,), (there,) = operator.containers, doctor.containers
    assert (here["env"], here["image"]) == (there["env"], there["image"])
    assert here["command"] == ["sleep", "infinity"]
    release = {"app.kubernetes.io/name"}
    assert {k: v for k, v in operator.labels.items() if k not in release} == {
        k: v for k, v in doctor.labels.items() if k not in release
    }


def test_the_restore_is_in_no_overlay(objects: Objects) -> None:
    """A Job cannot be changed: with its script in an overlay, the next apply would be refused."""
    for which in OVERLAYS:
        assert not [one for one in objects(f"cluster-{which}") if one["kind"] == "Job"]
    names = {(one["kind"], one["metadata"]["name"]) for one in objects("restore")}
    assert names == {("Job", "postgres-restore"), ("ConfigMap", "restore-files")}


def test_the_restore_works_on_the_disks_of_postgresql_and_waits_until_it_is_gone(objects: Objects) -> None:
    restore = _only(objects("restore"), "postgres-restore")
    postgres = _only(objects("cluster-production"), "postgres")
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in restore.spec["volumes"]
        if "persistentVolumeClaim" in volume
    }
    (template,) = postgres.owner["spec"]["volumeClaimTemplates"]
    assert claims == {"data": f"{template['metadata']['name']}-postgres-0", "backups": "postgres-backups"}
    (job,), (server,) = restore.containers, postgres.containers
    assert job["image"] == server["image"]
    places = [{one["name"]: one.get("value") for one in box["env"]} for box in (job, server)]
    assert places[0]["PGDATA"] == places[1]["PGDATA"]
    assert places[0]["BACKUPS"] == places[1]["BACKUPS"]
    assert restore.spec["securityContext"] == postgres.spec["securityContext"]
    (rule,) = restore.spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"].items() <= postgres.labels.items()


def test_the_moment_is_filled_in_as_the_runbook_types_it(rendered: Rendered) -> None:
    text = run("sed", _typed("kubectl replace"), stdin=rendered("restore"))
    (container,) = _only(parse(text), "postgres-restore").containers
    (until,) = (one["value"] for one in container["env"] if one["name"] == "UNTIL")
    assert until == "2026-05-04 16:00:00+00"


def test_a_lost_disk_is_claimed_anew_as_the_runbook_types_it(box: Toolbox, objects: Objects) -> None:
    (template,) = named(objects("cluster-production"), "StatefulSet", "postgres")["spec"][
        "volumeClaimTemplates"
    ]
    # As kubectl prints what a jsonpath finds.
    text = run("sed", _typed("kubectl -n todo create"), stdin=json.dumps(template, separators=(",", ":")))
    claim = json.loads(text)
    assert claim["metadata"]["name"] == "data-postgres-0"
    assert claim["spec"] == template["spec"]
    assert "Valid: 1" in validate(box, text)


def test_the_runbook_starts_again_all_that_it_stops() -> None:
    stopped = {*re.findall(r"scale (\w+ [\w-]+) --replicas 0", RUNBOOK)}
    started = {*re.findall(r"scale (\w+ [\w-]+) --replicas [1-9]", RUNBOOK)}
    assert stopped == started == {"deployment task-api", "statefulset postgres", "deployment operator"}
    assert RUNBOOK.index("paused-replicas=0") < RUNBOOK.index("scale deployment task-api --replicas 0")
    assert RUNBOOK.index("epoch raise") < RUNBOOK.index("scale deployment task-api --replicas 3")
    assert RUNBOOK.index("scale deployment task-api --replicas 3") < RUNBOOK.index("paused-replicas-")
    assert '"suspend": true' in RUNBOOK
    assert RUNBOOK.index('"suspend": true') < RUNBOOK.index('"suspend": false')


def test_the_jobs_take_the_images_that_they_are_told(box: Toolbox, tmp_path: Path) -> None:
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"kustomize edit set image (.+)", text)
    wanted = {}
    for word in line.split():
        name, _, image = word.partition("=")
        wanted[name] = image.replace("REPOSITORY", "somewhere/else").replace("TAG", "1.2.3")
    images = [
        {"name": name, "newName": image.partition(":")[0], "newTag": image.partition(":")[2]}
        for name, image in wanted.items()
    ]
    kustomization = {"resources": [os.path.relpath(ROOT / "k8s/jobs", tmp_path)], "images": images}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    jobs = [pod.containers[0]["image"] for pod in pods(parse(kustomize(box, str(tmp_path))))]
    assert sorted(jobs) == sorted(wanted.values())
