import pytest

from pgcast.auth.credentials import cleaned, handshake_token, http_token, policy_headers


@pytest.mark.parametrize(
    ("query", "headers", "token"),
    [
        ({}, {}, None),
        ({"apikey": "a"}, {}, "a"),
        ({"token": "t"}, {}, "t"),
        ({"apikey": "a", "token": "t"}, {}, "a"),
        ({"apikey": "a", "token": "t"}, {"x-api-key": "x"}, "x"),
        ({"apikey": "a"}, {"x-api-key": " "}, "a"),
        ({"apikey": ""}, {}, None),
        ({"apikey": "  "}, {"x-api-key": ""}, None),
        ({"apikey": " a%2Eb.c\n"}, {}, "a.b.c"),
        ({"apikey": "%20a.b.c%0A"}, {}, "a.b.c"),
        ({"apikey": "%ff%zz"}, {}, "\ufffd%zz"),
        ({}, {"authorization": "Bearer a.b.c"}, None),
    ],
)
def test_a_token_is_found_in_the_header_or_the_url(query, headers, token):
    assert handshake_token(query, headers) == token


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({}, None),
        ({"authorization": "Bearer a.b.c"}, "a.b.c"),
        ({"authorization": "bearer  a.b.c "}, "a.b.c"),
        ({"authorization": "BEARER a.b.c", "apikey": "k"}, "a.b.c"),
        ({"authorization": "", "apikey": "k"}, "k"),
        ({"authorization": "Bearer ", "apikey": "k"}, "k"),
        ({"authorization": "Basic abc", "apikey": "k"}, "k"),
        ({"apikey": " k%2Ea "}, "k.a"),
        ({"apikey": ""}, None),
        ({"x-api-key": "k"}, None),
    ],
)
def test_an_http_request_carries_its_token_in_two_headers(headers, token):
    assert http_token(headers) == token


def test_a_token_is_cleaned_of_escapes_and_white_space():
    assert cleaned(" a%2Eb\n") == "a.b"


def test_policies_read_the_headers_that_begin_with_x_and_no_key():
    headers = {"x-client-info": "js", "x-api-key": "secret", "authorization": "secret", "host": "h", "x-b": "\udcff"}

    assert policy_headers(headers) == {"x-client-info": "js", "x-b": "\ufffd"}


def test_headers_for_policies_have_a_limit():
    many = {f"x-{number}": "y" * 1000 for number in range(100)}

    assert 0 < len(policy_headers(many)) < 9
    assert policy_headers({"x-large": "y" * 100_000}) == {}
