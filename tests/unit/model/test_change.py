from pgcast.model.change import ABSENT, Kind


def test_kinds_are_spelt_as_clients_spell_them_and_can_be_looked_up():
    assert {kind: kind.value for kind in Kind} == {
        Kind.INSERT: "INSERT",
        Kind.UPDATE: "UPDATE",
        Kind.DELETE: "DELETE",
        Kind.TRUNCATE: "TRUNCATE",
    }


def test_an_absent_value_is_not_null():
    assert ABSENT is not None
    assert repr(ABSENT) == "ABSENT"
