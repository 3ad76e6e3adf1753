from __future__ import annotations

import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from pgcast.auth.keys import Keys, shared_secret
from pgcast.sockets.handshake import Admission, Refusal, TokenDoorkeeper

SECRET = "a secret of more than thirty-two characters"
PATH = "/socket/websocket"


def token(**claims: object) -> str:
    full = {"role": "anon", "exp": int(time.time()) + 60, **claims}
    return jwt.encode({"alg": "HS256"}, full, OctKey.import_key(SECRET))


def decide(
    target: str, *, keys: Keys | None = None, validators: dict[str, object] | None = None, **headers: str
) -> Admission | Refusal:
    by_name = {name.replace("_", "-"): value for name, value in headers.items()}
    return TokenDoorkeeper(keys, validators or {}).decide(target, by_name)


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
