"""``mediaray operations`` and ``mediaray profiles``: what can be asked for. Neither needs a server."""

from serve.cli.failures import reported
from serve.cli.operations import Json
from serve.cli.options import option_name
from serve.cli.render import Screen, print_json
from serve.cli.session import Place


@reported
def operations(json_output: Json = False) -> None:
    """List what mediaray can do."""
    from serve.catalogue import catalogue  # slow to import
    from serve.views import operation_view  # slow to import

    found = sorted(catalogue(), key=lambda operation: str(operation.name))
    if json_output:
        print_json({"operations": [operation_view(each) for each in found]})
        return
    screen = Screen()
    screen.table(
        ("OPERATION", "DOES", "OPTIONS"),
        [(each.name, each.summary, " ".join(option_name(name) for name in each.params.model_fields)) for each in found],
    )
    screen.note("More about one: mediaray OPERATION --help")


@reported
def profiles(json_output: Json = False) -> None:
    """List encoding profiles: those shipped, and your own."""
    from pipelines.jobs.profiles import all_profiles  # slow to import

    place = Place.here()
    found = all_profiles(place.home.profiles)
    if json_output:
        print_json({"profiles": [{"name": name, **each.model_dump(mode="json")} for name, each in found.items()]})
        return
    screen = Screen()
    screen.table(
        ("PROFILE", "CONTAINER", "FOR"),
        [(name, each.container, str(getattr(each, "description", ""))) for name, each in sorted(found.items())],
    )
    screen.note(f"Your own: TOML files in {place.home.profiles}. Use one: mediaray transcode FILE --profile NAME")
