from pgcast.model.claims import Claims


def test_claims_are_not_repeated_where_they_are_printed():
    assert "me@example.org" not in repr(Claims("anon", 0.0, {"email": "me@example.org"}))
