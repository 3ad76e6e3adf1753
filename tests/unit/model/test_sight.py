from pgcast.model.sight import BLIND, Sight


def test_to_be_blind_is_to_see_no_column_and_no_row():
    assert Sight(frozenset(), is_secured=True) == BLIND
    assert Sight().columns is None
