"""The compose files parse, pin their image, and publish nothing beyond this machine."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.collection.qdrant_server import QdrantServer

ROOT = Path(__file__).parent.parent
FILES = ["compose.yaml", "compose.cluster.yaml"]
# It comes with huggingface-hub, and has no type hints of its own.
yaml = importlib.import_module("yaml")


def services(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"]
    return found


@pytest.mark.parametrize("file", FILES)
def test_all_nodes_are_of_one_pinned_release(file: str) -> None:
    images = {service["image"] for other in FILES for service in services(other).values()}
    [image] = images
    assert re.fullmatch(r"qdrant/qdrant:v\d+\.\d+\.\d+", image)
    assert {service["image"] for service in services(file).values()} == images


@pytest.mark.parametrize("file", FILES)
def test_ports_are_open_to_this_machine_only_and_each_once(file: str) -> None:
    published = [port for service in services(file).values() for port in service["ports"]]
    parts = [port.split(":") for port in published]
    assert {host for host, _, _ in parts} == {"127.0.0.1"}
    assert {inner for _, _, inner in parts} == {"6333", "6334"}
    outer = [port for _, port, _ in parts]
    assert len(outer) == len(set(outer)) == 2 * len(services(file))
    assert "6333" in outer


@pytest.mark.parametrize("file", FILES)
def test_every_node_has_a_volume_of_its_own(file: str) -> None:
    used = [
        volume.partition(":")
        for service in services(file).values()
        for volume in service["volumes"]
    ]
    assert {place for _, _, place in used} == {"/qdrant/storage"}
    named = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["volumes"]
    assert sorted(name for name, _, _ in used) == sorted(named)
    assert len(named) == len(services(file))


@pytest.mark.parametrize("file", FILES)
def test_a_key_is_passed_on_and_never_set_to_nothing(file: str) -> None:
    for service in services(file).values():
        assert service["environment"]["QDRANT__SERVICE__API_KEY"] is None


def test_the_nodes_of_the_cluster_join_the_first_one() -> None:
    nodes = services("compose.cluster.yaml")
    first, *others = nodes
    assert len(others) == 2
    for name, node in nodes.items():
        assert node["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        words = node["command"]
        assert words[words.index("--uri") + 1] == f"http://{name}:6335"
        assert ("--bootstrap" in words) == (name != first)
        if name != first:
            assert words[words.index("--bootstrap") + 1] == f"http://{first}:6335"
            assert all(name != needed for needed in node["depends_on"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("file", FILES)
def test_the_health_check_tells_a_server_that_is_ready_from_one_that_is_not(file: str) -> None:
    for service in services(file).values():
        kind, *command = service["healthcheck"]["test"]
        assert kind == "CMD"
        with QdrantServer(api_key="secret") as server:
            # What compose makes of the doubled sign, and the port of the server for tests.
            here = [part.replace("$$", "$").replace("/6333", f"/{server.port}") for part in command]
            assert subprocess.run(here, check=False, capture_output=True).returncode == 0
            server.fail(1, match="GET /readyz", status=503)
            assert subprocess.run(here, check=False, capture_output=True).returncode != 0
        assert subprocess.run(here, check=False, capture_output=True).returncode != 0
