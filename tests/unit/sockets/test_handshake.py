from __future__ import annotations

import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from pgcast.auth.keys import Keys, read_key_set, shared_secret
from pgcast.auth.tokens import Tokens
from pgcast.engine.authentication import Authenticator
from pgcast.model.errors import KeySetUnavailable
from pgcast.sockets.handshake import Admission, Refusal, TokenDoorkeeper

SECRET = "a secret of more than thirty-two characters"
PATH = "/socket/websocket"
KEY = OctKey.generate_key(256, {"kid": "k1"})
KEY_SET = json.dumps({"keys": [KEY.as_dict(private=True)]}).encode()


class KeySets:
    """A key set in memory; None while it cannot be fetched."""

    def __init__(self, *contents: bytes | None) -> None:
        self.contents = list(contents)

    async def fetch(self) -> bytes:
        content = self.contents.pop(0)
        if content is None:
            raise KeySetUnavailable("the server of the keys is away")
        return content

    async def close(self) -> None:
        pass


def token(**claims: object) -> str:
    full = {"role": "anon", "exp": int(time.time()) + 60, **claims}
    return jwt.encode({"alg": "HS256"}, full, OctKey.import_key(SECRET))


def decide(
    target: str, *, keys: Keys | None = None, validators: dict[str, object] | None = None, **headers: str
) -> Admission | Refusal | None:
    by_name = {name.replace("_", "-"): value for name, value in headers.items()}
    authenticator = None if keys is None else Authenticator(Tokens(keys, validators))
    return TokenDoorkeeper(authenticator).decide(target, by_name)


@pytest.mark.parametrize("path", ["/socket/websocket", "/realtime/v1/websocket"])
@pytest.mark.parametrize(
    ("query", "version"), [("", "1.0.0"), ("?vsn=1.0.0", "1.0.0"), ("?apikey=x&vsn=2.0.0&log_level=info", "2.0.0")]
)
def test_both_paths_are_served_with_the_serializer_asked_for(path: str, query: str, version: str):
    admission = decide(path + query)
    assert isinstance(admission, Admission)
    assert admission.serializer.version == version
    assert admission.claims is None


@pytest.mark.parametrize("path", ["/", "/socket", "/socket/websocket/", "/elsewhere"])
def test_another_path_is_refused_with_those_that_are_served(path: str):
    refusal = decide(path)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 404
    assert json.loads(refusal.body)["error"].count("websocket") == 2


def test_an_unknown_serializer_is_refused_without_a_body():
    assert decide(f"{PATH}?vsn=3.0.0") == Refusal(403, "")


def test_a_target_that_is_no_url_is_refused():
    assert decide("//[x/socket/websocket") == Refusal(400, "The request target is no URL")
    assert Refusal(403, "").body == b""


def test_an_id_for_resuming_is_taken_from_the_url():
    admission = decide(f"{PATH}?resume=tab-1")
    assert isinstance(admission, Admission)
    assert admission.resume == "tab-1"
    without = decide(f"{PATH}?resume=")
    assert isinstance(without, Admission)
    assert without.resume is None


def test_an_id_for_resuming_has_a_limit():
    assert isinstance(decide(f"{PATH}?resume={'x' * 128}"), Admission)
    assert decide(f"{PATH}?resume={'x' * 129}") == Refusal(400, "The parameter resume has at most 128 bytes")


def test_where_keys_are_configured_a_token_is_needed():
    assert decide(PATH, keys=shared_secret(SECRET)) == Refusal(401, "API key is missing")


@pytest.mark.parametrize("where", ["apikey", "token", "header"])
def test_a_valid_token_is_admitted_wherever_clients_put_it(where: str):
    keys = shared_secret(SECRET)
    admission = (
        decide(PATH, keys=keys, x_api_key=token())
        if where == "header"
        else decide(f"{PATH}?{where}={token()}", keys=keys)
    )
    assert isinstance(admission, Admission)
    assert admission.claims is not None
    assert admission.claims.role == "anon"


def test_a_token_that_is_not_to_be_trusted_is_refused_with_the_reason():
    keys = shared_secret(SECRET)
    assert decide(f"{PATH}?apikey={token(exp=1)}", keys=keys) == Refusal(401, "Token has expired")
    assert decide(f"{PATH}?apikey=nonsense", keys=keys) == Refusal(401, "The token provided is not a valid JWT")


def test_claims_that_are_demanded_must_be_there():
    keys, validators = shared_secret(SECRET), {"iss": "me"}
    assert isinstance(decide(f"{PATH}?apikey={token(iss='me')}", keys=keys, validators=validators), Admission)
    assert isinstance(decide(f"{PATH}?apikey={token()}", keys=keys, validators=validators), Refusal)


def test_the_headers_that_policies_can_read_are_kept():
    admission = decide(PATH, x_client_info="js", x_api_key="secret", cookie="secret")
    assert isinstance(admission, Admission)
    assert admission.headers == {"x-client-info": "js"}


def keyed() -> str:
    return jwt.encode({"alg": "HS256", "kid": "k1"}, {"role": "anon", "exp": int(time.time()) + 60}, KEY)


async def test_a_key_that_is_not_known_yet_is_waited_for():
    doorkeeper = TokenDoorkeeper(Authenticator(Tokens(), KeySets(KEY_SET)))
    target = f"{PATH}?apikey={keyed()}"

    assert doorkeeper.decide(target, {}) is None
    admission = await doorkeeper.decide_later(target, {})
    assert isinstance(admission, Admission)
    assert admission.claims is not None
    assert isinstance(doorkeeper.decide(target, {}), Admission)


async def test_a_key_that_is_in_no_key_set_is_refused():
    others = json.dumps({"keys": [OctKey.generate_key(256, {"kid": "k2"}).as_dict(private=True)]}).encode()
    doorkeeper = TokenDoorkeeper(Authenticator(Tokens(), KeySets(others)))

    refusal = await doorkeeper.decide_later(f"{PATH}?apikey={keyed()}", {})

    assert refusal == Refusal(
        401,
        'Failed to generate JWT signer for key ID (kid) "k1", check your JWT secret or JWKS configuration',
    )


async def test_a_key_set_that_cannot_be_fetched_is_no_reason_to_stay_away_for_ever():
    doorkeeper = TokenDoorkeeper(Authenticator(Tokens(), KeySets(None)))

    refusal = await doorkeeper.decide_later(f"{PATH}?apikey={keyed()}", {})

    assert refusal == Refusal(503, "The keys that verify tokens cannot be fetched at present")


async def test_what_is_refused_at_once_is_refused_later_too():
    doorkeeper = TokenDoorkeeper(Authenticator(Tokens(Keys(None, read_key_set(KEY_SET)))))

    assert await doorkeeper.decide_later(f"{PATH}?vsn=7", {}) == Refusal(403, "")
    assert await doorkeeper.decide_later(f"{PATH}?apikey=x", {}) == Refusal(
        401, "The token provided is not a valid JWT"
    )
