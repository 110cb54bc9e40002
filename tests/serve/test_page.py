"""The page of a server: its files, and what a person sees and does on it in Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from convsmith.serve.app import create_app
from tests.colours import picture
from tests.serve.running import served


def test_the_page_may_load_from_its_server_alone(url: str) -> None:
    answer = httpx.get(url)
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_every_file_that_the_page_names_is_there(url: str) -> None:
    found, left = set(), re.findall(r'(?:href|src)="(page/[^"]+)"', httpx.get(url).text)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            answer = httpx.get(f"{url}/{name}")
            assert answer.status_code == 200, name
            left += [f"page/{part}" for part in re.findall(r'^import .* from "./([^"]+)"', answer.text, re.MULTILINE)]
    assert {"page/page.js", "page/style.css", "page/show_mask.js"} <= found


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2fapp.py", "__init__.py"])
def test_the_page_has_no_other_files(url: str, name: str) -> None:
    assert httpx.get(f"{url}/page/{name}").status_code == 404


def test_the_page_knows_what_it_asks(url: str) -> None:
    (model,) = httpx.get(f"{url}/page/models").json()
    assert (model["name"], model["labels"], model["device"], model["cam"]) == ("model", 3, "cpu", True)


@pytest.fixture(scope="module")
def versions_url(colour_bundle: Path, pixel_bundle: Path) -> Iterator[str]:
    bundles = {"masks/1": pixel_bundle, "colours/1": colour_bundle, "colours/2": colour_bundle}
    with served(create_app(bundles, default=("colours/1",))) as (_, url):
        yield url


def test_the_page_lists_the_usual_version_of_a_model_first(versions_url: str) -> None:
    listed = [(it["name"], it["version"]) for it in httpx.get(f"{versions_url}/page/models").json()]
    assert listed == [("masks", "1"), ("colours", "1"), ("colours", "2")]


@pytest.fixture
def small_url(colour_bundle: Path, pixel_bundle: Path, tmp_path: Path) -> Iterator[str]:
    """A server that has room for one of two models in memory."""
    masks = shutil.copytree(pixel_bundle, tmp_path / "masks")
    with served(create_app({"colours": colour_bundle, "masks": masks}, max_models=1)) as (_, url):
        yield url


def test_the_page_lists_models_that_their_first_answer_loads(small_url: str) -> None:
    loaded, asleep = httpx.get(f"{small_url}/page/models").json()
    assert (loaded["name"], loaded["device"], loaded["cam"]) == ("colours", "cpu", True)
    assert (asleep["name"], asleep["labels"], asleep["device"], asleep["cam"]) == ("masks", 3, None, False)
    httpx.post(f"{small_url}/predict?model=masks", files={"image": ("photo.png", picture("red"))})
    devices = [it["device"] for it in httpx.get(f"{small_url}/page/models").json()]
    assert devices == [None, "cpu"]


def test_the_page_lists_no_model_whose_folder_has_gone(small_url: str, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "masks")
    assert [it["name"] for it in httpx.get(f"{small_url}/page/models").json()] == ["colours"]


@pytest.mark.slow
def test_a_person_asks_a_model_that_is_not_in_memory(tab_of: Any, small_url: str, photo: Path) -> None:
    tab, _ = tab_of(small_url)
    tab.get_by_label("Model").select_option("masks")
    assert "not in this server's memory" in tab.locator("#about").inner_text()
    tab.get_by_label("choose files").set_input_files(photo)
    tab.get_by_role("heading", level=2).wait_for()
    assert "on this server's cpu" in tab.locator("#about").inner_text()


def test_an_answer_says_how_long_each_stage_took(url: str) -> None:
    answer = httpx.post(f"{url}/predict", files={"image": ("photo.png", picture("red"))})
    stages = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(stages) == ["queue", "preprocess", "inference"]
    assert all(float(it) >= 0 for it in stages.values())


@pytest.fixture(scope="module")
def tab_of(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Opens the page of a server, and keeps the addresses that it asks."""

    def opened(url: str, **options: Any) -> tuple[Any, list[str]]:
        tab, asked = browser.new_page(**options), []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(url)
        return tab, asked

    return opened


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photos") / "it's red.png"
    file.write_bytes(picture("red"))
    return file


@pytest.mark.slow
def test_a_chosen_image_is_answered_with_its_classes_its_time_and_the_command(
    tab_of: Any, url: str, photo: Path
) -> None:
    tab, asked = tab_of(url)
    tab.get_by_label("choose files").set_input_files(photo)
    tab.get_by_role("heading", level=2).wait_for()
    assert tab.get_by_role("heading", level=2).inner_text().startswith("red, ")
    assert tab.locator(".bars li").count() == 3
    assert "inference" in tab.locator("#answer p.quiet").last.inner_text()
    tab.get_by_text("The same from a shell").click()
    assert tab.locator("#answer pre").inner_text() == rf"curl -F 'image=@it'\''s red.png' '{url}/predict'"
    assert all(address.startswith((url, "data:", "blob:")) for address in asked)


@pytest.mark.slow
def test_a_person_sees_where_the_model_looked_for_a_class(tab_of: Any, url: str, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(picture("magenta"))
    tab, asked = tab_of(url)
    tab.get_by_label("choose files").set_input_files(file)
    tab.get_by_label("Where it looked for").select_option("blue")
    tab.get_by_role("button", name="Show where").click()
    heat = tab.get_by_role("img", name="What speaks for blue")
    heat.wait_for()
    tab.wait_for_function("document.querySelector('img.heat').naturalWidth === 8")
    assert "speaks for blue" in tab.get_by_role("region", name="Where the model looked").inner_text()
    assert f"{url}/explain?class_id=2" in asked


@pytest.mark.slow
def test_versions_of_a_model_are_told_apart(tab_of: Any, versions_url: str, photo: Path) -> None:
    tab, asked = tab_of(versions_url)
    choice = tab.get_by_label("Model")
    assert choice.locator("option").all_inner_texts() == ["masks", "colours, version 1", "colours, version 2"]
    choice.select_option("colours, version 2")
    tab.get_by_label("choose files").set_input_files(photo)
    tab.get_by_role("heading", level=2).wait_for()
    assert f"{versions_url}/predict?model=colours&version=2" in asked


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_explained(tab_of: Any, url: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.png"
    file.write_bytes(b"no image")
    tab, _ = tab_of(url)
    tab.get_by_label("choose files").set_input_files(file)
    tab.locator("#status.error").wait_for()
    assert tab.locator("#status").inner_text().startswith("broken.png: ")


@pytest.mark.slow
def test_a_mask_lies_over_its_image_with_legend_and_opacity(tab_of: Any, pixel_bundle: Path, photo: Path) -> None:
    with served(create_app(pixel_bundle)) as (_, url):
        tab, _ = tab_of(url)
        tab.get_by_label("choose files").set_input_files(photo)
        tab.get_by_label("Opacity of the mask").wait_for()
        assert tab.locator(".layers canvas").count() == 2
        assert tab.get_by_role("list", name="Legend").locator("li").count() >= 1
        assert tab.get_by_role("button", name="Show where").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_on_the_page_keeps_people_out(tab_of: Any, url: str, photo: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab, _ = tab_of(url, color_scheme=scheme, viewport={"width": 390, "height": 800})
    tab.get_by_label("choose files").set_input_files(photo)
    tab.get_by_role("button", name="Show where").click()
    tab.locator("img.heat").wait_for()
    assert [(it["impact"], it["id"]) for it in axe.Axe().run(tab).response["violations"]] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
