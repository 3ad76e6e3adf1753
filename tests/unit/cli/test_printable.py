from pgcast.cli.printable import printable


def test_control_characters_are_shown_as_such():
    assert printable("a\x1b[31m\n\u202eb") == "a\\u001b[31m\\u000a\\u202eb"
    assert printable("milk 🦊") == "milk 🦊"


def test_what_is_too_long_is_cut():
    assert printable("abcdef", longest=3) == "abc…"
    assert printable("abc", longest=3) == "abc"
