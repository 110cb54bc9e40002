"""GET /metrics: what has happened, in numbers, as Prometheus reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from convsmith.serve.app import create_app
from convsmith.serve.metrics import FOLDER
from tests.colours import picture
from tests.serve.running import PATIENCE, connect, post, served, served_by_command, wait_until

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def numbers(url: str) -> Numbers:
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(it.name, frozenset(it.labels.items())): it.value for family in families for it in family.samples}


def number(found: Numbers, name: str, **labels: str) -> float:
    """The sum of the numbers that have these labels."""
    return sum(value for (it, given), value in found.items() if it == name and labels.items() <= dict(given).items())


@pytest.fixture(scope="module")
def found(colour_bundle: Path) -> Iterator[Numbers]:
    """The numbers after three images, one of which cannot be read, and an address that does not exist."""
    with served(create_app(colour_bundle)) as (_, url):
        for content in (picture("red"), picture("blue"), b"no image"):
            post(url, content)
        httpx.get(f"{url}/nowhere")
        yield numbers(url)


def test_requests_are_counted_by_model_route_and_status(found: Numbers) -> None:
    predicted = {"model": "model", "route": "/predict"}
    assert number(found, "convsmith_requests_total", **predicted, status="200") == 2
    assert number(found, "convsmith_requests_total", **predicted, status="415") == 1
    assert number(found, "convsmith_requests_total", model="", route="", status="404") == 1


def test_images_are_counted_by_status(found: Numbers) -> None:
    assert number(found, "convsmith_images_total", model="model", status="200") == 2
    assert number(found, "convsmith_images_total", model="model", status="415") == 1


@pytest.mark.parametrize("stage", ["queue", "preprocess", "inference", "answer"])
def test_each_stage_is_timed_of_the_images_that_came_to_it(found: Numbers, stage: str) -> None:
    assert number(found, "convsmith_stage_seconds_count", model="model", stage=stage) == 2
    assert 0 < number(found, "convsmith_stage_seconds_sum", model="model", stage=stage) < PATIENCE


def test_whole_requests_are_timed(found: Numbers) -> None:
    assert number(found, "convsmith_request_seconds_count", model="model") == 3
    whole = number(found, "convsmith_request_seconds_sum", model="model")
    assert whole >= number(found, "convsmith_stage_seconds_sum", model="model")


def test_batches_are_counted_by_size(found: Numbers) -> None:
    assert number(found, "convsmith_batch_size_bucket", model="model", le="1.0") == 2


def test_what_is_running_is_shown(found: Numbers) -> None:
    assert number(found, "convsmith_requests_in_flight") == 1  # the one that asks for the numbers
    assert number(found, "convsmith_images_in_flight") == 0
    assert number(found, "convsmith_uploads") == 0


def test_an_upload_is_shown_while_it_comes(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle)) as (_, url), connect(url) as client:
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        client.sendall(f"{head}Content-Length: 1000\r\n\r\n--b".encode())
        wait_until(lambda: number(numbers(url), "convsmith_uploads") == 1)
        assert number(numbers(url), "convsmith_requests_in_flight") == 2


def test_models_are_shown_with_their_version_and_place(found: Numbers) -> None:
    assert number(found, "convsmith_model_loaded", model="model", version="1") == 1
    assert number(found, "convsmith_model_info", model="model", version="1", device="cpu", runtime="onnxruntime") == 1
    assert number(found, "convsmith_build_info") == 1


def test_the_process_is_shown(found: Numbers) -> None:
    assert number(found, "process_resident_memory_bytes") > 10_000_000


def test_two_applications_of_one_process_count_for_themselves(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle)) as (_, one), served(create_app(colour_bundle)) as (_, two):
        post(one, picture("red"))
        assert number(numbers(one), "convsmith_images_total") == 1
        assert number(numbers(two), "convsmith_images_total") == 0


def test_a_path_that_clients_invent_makes_no_new_numbers(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle)) as (_, url):
        for word in "abcdefgh":
            httpx.request(f"X{word}", f"{url}/{word}")
        assert len([name for name, _ in numbers(url) if name == "convsmith_requests_total"]) == 1


def test_open_metrics_are_answered_where_they_are_asked_for(url: str) -> None:
    answer = httpx.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_the_head_of_the_numbers_may_be_asked_for(url: str) -> None:
    answer = httpx.head(f"{url}/metrics")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_query_is_refused(url: str) -> None:
    answer = httpx.get(f"{url}/metrics?name[]=convsmith_uploads")
    assert (answer.status_code, answer.json()["error"]) == (422, "there is no query parameter `name[]`")


def test_the_numbers_are_described(url: str) -> None:
    described = httpx.get(f"{url}/openapi.json").json()["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert set(described) == {"text/plain", "application/openmetrics-text"}


def test_processes_that_share_a_folder_are_shown_together(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with served_by_command(colour_bundle) as (_, one), served_by_command(colour_bundle) as (_, two):
        post(one, picture("red"))
        post(two, picture("red"))
        for url in (one, two):
            found = numbers(url)
            assert number(found, "convsmith_images_total", status="200") == 2
            assert number(found, "convsmith_stage_seconds_count", stage="inference") == 2
            assert len([name for name, _ in found if name == "process_resident_memory_bytes"]) == 2
            assert number(found, "convsmith_model_loaded") == 1
            assert number(found, "convsmith_requests_in_flight") == 1


def test_a_folder_that_does_not_exist_is_an_error_before_it_serves(colour_bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "convsmith.cli.main", "serve", str(colour_bundle), "--port", "0"]
    environment = {**os.environ, FOLDER: str(tmp_path / "none")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {FOLDER} names no folder")
