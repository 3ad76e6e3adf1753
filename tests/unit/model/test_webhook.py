import pytest

from pgcast.model.webhook import Webhook, decode_secret


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
