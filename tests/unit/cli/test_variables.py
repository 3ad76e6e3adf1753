from pgcast.cli.variables import default_text, list_variables
from pgcast.settings import Settings, read_settings


def test_every_variable_is_listed_with_its_default():
    listed = list_variables().split("\n\n")[1:]
    assert [line.partition(" (")[0] for line in listed] == [field.alias for field in Settings.model_fields.values()]
    assert "PORT (4000): the HTTP and WebSocket port; 0 takes a free one" in listed


def test_a_default_as_it_is_listed_could_be_set():
    defaults = read_settings()
    for name, field in Settings.model_fields.items():
        text = default_text(field)
        if text != "unset":
            assert getattr(read_settings({str(field.alias): text}), name) == getattr(defaults, name), name


def test_what_has_no_default_is_unset():
    assert default_text(Settings.model_fields["bind"]) == "unset"
