import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pgcast.model.webhook import decode_secret
from pgcast.webhooks.signing import delivery_id, signature_headers

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
KEYS = [decode_secret(secret) for secret in SECRETS]


def test_the_specification_s_own_example_is_reproduced():
    headers = signature_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', KEYS[:1])
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_each_secret_verifies_what_both_have_signed(secret: str):
    body = '{"ü": 1}'.encode()
    headers = signature_headers("msg_1", int(time.time()), body, KEYS)
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, {**headers, "webhook-id": "msg_2"})


def test_without_a_key_there_is_no_signature():
    assert set(signature_headers("msg_1", 1, b"", [])) == {"webhook-id", "webhook-timestamp"}


def test_an_id_depends_on_the_endpoint_and_the_first_change_alone():
    one = delivery_id("a", 1, "5f0c2a9e-0-0")
    assert one == delivery_id("a", 1, "5f0c2a9e-0-0")
    others = {("b", 1, "5f0c2a9e-0-0"), ("a", 2, "5f0c2a9e-0-0"), ("a", 1, "5f0c2a9e-0-1")}
    assert len({one, *(delivery_id(*other) for other in others)}) == 4
    assert "." not in one, "the specification's separator"
