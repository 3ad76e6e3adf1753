import pytest

from pgcast.model.webhook import Webhook, decode_secret, parse_headers


def test_a_secret_is_the_base64_of_its_key():
    assert decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").hex() == (
        "31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_AAAA",
        "whsec_" + "A" * 88,
        "whsec_ä",
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(text: str):
    with pytest.raises(ValueError, match="expected whsec_ and the base64 of 24 to 64 bytes") as caught:
        decode_secret(text)
    assert not text or text not in str(caught.value) or text == "whsec_"


def test_a_webhook_shows_neither_its_url_nor_its_secrets():
    shown = repr(Webhook("webhooks[0]", None, None, None, None, "https://h/secret-path", "name", ("whsec_x",)))
    assert "secret-path" not in shown
    assert "whsec_x" not in shown


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("X-One=1", {"X-One": "1"}),
        ("X-One=1:X-Two=a=b c", {"X-One": "1", "X-Two": "a=b c"}),
        (' {"X-One": "http://a:1", "B": "c"}', {"X-One": "http://a:1", "B": "c"}),
        ("{}", {}),
    ],
)
def test_headers_are_pairs_with_colons_between_or_an_object(text: str, headers: dict[str, str]):
    assert parse_headers(text) == headers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X One=hidden", "one of the names is no header's"),
        ("X-One=http://hidden", "or a JSON object where a value has a colon"),
        ("X-One=1:", "expected name=value:name=value"),
        ("hidden", "expected name=value:name=value"),
        ("X-One=", "the value of X-One is missing"),
        ("X-One=hid\nden", "the value of X-One is missing or cannot stand in a header"),
        ("X-One=hiddén", "the value of X-One is missing or cannot stand in a header"),
        ('{"X-One": 1}', "the value of X-One is missing"),
        ('{"X-One": ', "this is no JSON"),
        ("Content-Type=hidden", "Content-Type is set by pgcast itself"),
        ("Webhook-Id=hidden", "Webhook-Id is set by pgcast itself"),
    ],
)
def test_what_cannot_be_a_header_is_refused_without_being_shown(text: str, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        parse_headers(text)
    assert "hid" not in str(caught.value)
