"""An image means a command: by its name, whatever registry and tag, and as users say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lateen.api.container import Container
from lateen.base.errors import DataError, NotFoundError, UsageError
from lateen.cluster.images import BUILTIN, ImageTable, UnknownImage
from lateen.cluster.user_images import FILE_NAME, UserImage, UserImages

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
SHOWN_FILES = (
    "bookinfo/platform/kube/bookinfo.yaml",
    "httpbin/httpbin.yaml",
    "httpbin/sample-client/fortio-deploy.yaml",
    "sleep/sleep.yaml",
    "curl/curl.yaml",
    "helloworld/helloworld.yaml",
    "tcp-echo/tcp-echo-services.yaml",
)


def container(image: str, *command: str, arguments: tuple[str, ...] = ()) -> Container:
    return Container(name="app", image=image, command=command, args=arguments)


@pytest.mark.parametrize("name", SHOWN_FILES)
def test_every_image_of_the_sample_files_is_known(name: str) -> None:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip("needs the samples beside the checkout")
    images = [
        each["image"]
        for document in yaml.safe_load_all(path.read_text())
        if document and document["kind"] == "Deployment"
        for each in document["spec"]["template"]["spec"]["containers"]
    ]
    assert images
    for image in images:
        assert ImageTable().find(image) is not None, image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("registry.istio.io/release/examples-bookinfo-reviews-v3:1.20.3", ("lateen.samples.bookinfo", "reviews", "v3")),
        ("docker.io/istio/examples-bookinfo-details-v1", ("lateen.samples.bookinfo", "details", "v1")),
        ("my.registry:5000/a/b/go-httpbin@sha256:00", ("lateen.samples.httpbin",)),
        ("governmentpaas/curl-ssl", ("infinity",)),
        ("fortio/fortio:latest_release", ("/usr/bin/fortio", "server")),
        ("busybox:1.28", ("/bin/sh",)),
    ],
)
def test_a_name_stands_for_an_image_in_every_registry(image: str, words: tuple[str, ...]) -> None:
    assert ImageTable().resolve(container(image)).arguments[-len(words) :] == words


def test_arguments_and_command_replace_those_of_the_image() -> None:
    table = ImageTable()
    assert table.resolve(container("tcp-echo-server", arguments=("9", "one"))).arguments[-2:] == ("9", "one")
    assert table.resolve(container("curlimages/curl", "sleep", "9")).arguments == ("sleep", "9")
    assert table.resolve(container("busybox", arguments=("/bin/sh", "-c", "true"))).arguments == (
        "/bin/sh",
        "-c",
        "true",
    )
    assert table.resolve(container("curlimages/curl", arguments=("curl", "a"))).arguments == ("curl", "a")
    assert "curl" in table.resolve(container("curlimages/curl", "sleep", "9")).image.commands


def test_modules_of_the_table_exist() -> None:
    words = " ".join(" ".join([*image.entrypoint, *image.commands.values()]) for image in BUILTIN.values())
    modules = set(re.findall(r"lateen\.samples\.(\w+)", words))
    folder = Path(__file__).parents[2] / "src" / "lateen" / "samples"
    assert modules
    assert {name for name in modules if not (folder / f"{name}.py").exists()} == set()


def test_an_unknown_image_says_what_to_add() -> None:
    with pytest.raises(UnknownImage, match=r"lateen image add me/app -- COMMAND"):
        ImageTable().resolve(container("ghcr.io/me/app:1"))


def test_added_images_count_from_the_next_start_and_come_first(tmp_path: Path) -> None:
    added = UserImages(tmp_path / FILE_NAME)
    table = ImageTable(read_added=UserImages(tmp_path / FILE_NAME).images)
    added.add("ghcr.io/me/app:1", UserImage(("python3", "app.py"), "/srv/app"))
    added.add("busybox", UserImage(("own", "busybox")))
    program = table.resolve(container("other.registry/me/app:2"))
    assert (program.arguments, program.image.directory) == (("python3", "app.py"), "/srv/app")
    assert table.resolve(container("docker.io/library/busybox")).arguments == ("own", "busybox")
    assert added.remove("me/app:9") == "me/app"
    with pytest.raises(UnknownImage):
        table.resolve(container("me/app"))


@pytest.mark.parametrize("name", ["", "a b", "istio/proxyv2:1.24"])
def test_names_that_cannot_be_added_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        UserImages(tmp_path / FILE_NAME).add(name, UserImage(("true",)))


def test_removing_what_was_not_added_names_what_was(tmp_path: Path) -> None:
    added = UserImages(tmp_path / FILE_NAME)
    added.add("app", UserImage(("true",)))
    with pytest.raises(NotFoundError) as caught:
        added.remove("ap")
    assert "app" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"command": 3}}'])
def test_a_file_that_is_not_ours_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(DataError, match=FILE_NAME):
        UserImages(tmp_path / FILE_NAME).read()
    with pytest.raises(UnknownImage, match=FILE_NAME):
        ImageTable(read_added=UserImages(tmp_path / FILE_NAME).images).resolve(container("app"))
