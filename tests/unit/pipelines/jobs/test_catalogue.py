import sys
from types import ModuleType

import pytest
from unit.pipelines.jobs.makers import COPY, LOOK

from cluster.errors import ChildCrashedError
from pipelines.jobs.catalogue import Catalogue, Made, artifact_of, check_made, operation_modules


@pytest.fixture
def modules(monkeypatch):
    """Modules ``one``, ``two`` and ``twin`` with operations; that of ``twin`` has the name of that of ``one``."""
    for name, operation in {"one": COPY, "two": LOOK, "twin": COPY}.items():
        module = ModuleType(f"catalogue_of_{name}")
        module.OPERATION = operation  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_operations_are_found_by_name_and_know_their_module(modules):
    catalogue = Catalogue.load(["catalogue_of_two", "catalogue_of_one"])
    assert catalogue.names() == ["copy", "look"]
    assert catalogue["look"] is LOOK
    assert catalogue.module_of("copy") == "catalogue_of_one"
    assert "copy" in catalogue
    assert "paste" not in catalogue


def test_two_operations_of_one_name_are_refused(modules):
    with pytest.raises(ValueError, match="two operations are named copy"):
        Catalogue.load(["catalogue_of_one", "catalogue_of_twin"])


def test_only_is_for_a_catalogue_of_one(modules):
    assert Catalogue.load(["catalogue_of_one"]).only() is COPY
    with pytest.raises(ValueError):
        Catalogue.load(["catalogue_of_one", "catalogue_of_two"]).only()


def test_the_operations_of_a_package_are_discovered():
    modules = operation_modules("pipelines.jobs.operations")
    assert "pipelines.jobs.operations.probe" in modules
    assert Catalogue.load(modules).names() == sorted(module.rpartition(".")[2].replace("_", "-") for module in modules)


def test_every_operation_can_tell_its_schemas_and_its_examples_hold():
    for operation in Catalogue.load(operation_modules("pipelines.jobs.operations")):
        assert operation.params.model_json_schema()["additionalProperties"] is False
        assert operation.result.model_json_schema()
        for example in operation.examples:
            operation.params.model_validate(example["params"])


def test_an_artifact_has_the_size_of_what_was_made(tmp_path):
    made = tmp_path / "made"
    made.write_bytes(b"12345")
    artifact = artifact_of(Made(made, "film.mkv", "video/x-matroska"), tmp_path / "film.mkv")
    assert (artifact.name, artifact.size_bytes, artifact.path) == ("film.mkv", 5, f"{tmp_path}/film.mkv")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("unit.1/../../token", "a.mp4"),
        ("../token", "a.mp4"),
        ("unit.1/link", "a.mp4"),
        ("linked/token", "a.mp4"),
        ("unit.1", "a.mp4"),
        ("unit.1/none.mp4", "a.mp4"),
        ("unit.1/a.mp4", "../a.mp4"),
        ("unit.1/a.mp4", "b/../../a.mp4"),
        ("unit.1/a.mp4", "a\0.mp4"),
        ("unit.1/a.mp4", ""),
        ("unit.1/a.mp4", "/a.mp4"),
    ],
)
def test_files_that_a_media_process_can_t_have_made_are_refused(tmp_path, path, name):
    scratch = tmp_path / "job"
    (scratch / "unit.1").mkdir(parents=True)
    (scratch / "unit.1" / "a.mp4").write_bytes(b"film")
    (tmp_path / "token").write_text("secret")
    (scratch / "unit.1" / "link").symlink_to(tmp_path / "token")
    (scratch / "linked").symlink_to(tmp_path)
    check_made([Made(scratch / "unit.1" / "a.mp4", "2019/a.mp4", "video/mp4")], scratch)
    check_made([Made(scratch / "unit.1" / "a.mp4", "/a.mp4", "video/mp4")], scratch, after="2019")
    with pytest.raises(ChildCrashedError):
        check_made([Made(scratch / path, name, "video/mp4")], scratch)
