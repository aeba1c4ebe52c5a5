# OAuth 2 as Authlib speaks it, and keys as PyJWT reads them. Reads what there is as JSON on standard input; ends with an
# error where something is not as these libraries want it.
import json
import os
import sys
import time

# Loopback without TLS.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from joserfc.jwk import ECKey

world = json.load(sys.stdin)
issuer, client_id, client_secret = world["issuer"], world["client_id"], world["client_secret"]
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

# Metadata, wherever it is looked for.
places = [get_well_known_url(issuer, external=True)]
places.append(get_well_known_url(issuer, external=True, suffix="openid-configuration"))
places.append(issuer + "/.well-known/openid-configuration")
for place in places:
    reply = requests.get(place, timeout=10)
    assert reply.status_code == 200, (place, reply.text)
    metadata = AuthorizationServerMetadata(reply.json())
    metadata.validate()
    assert metadata["issuer"] == issuer, metadata

# A client proves itself in the header and in the body.
for method in ["client_secret_basic", "client_secret_post"]:
    assert method in metadata["token_endpoint_auth_methods_supported"], metadata
    session = OAuth2Session(client_id, client_secret, scope="pay", token_endpoint_auth_method=method)
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert token["token_type"] == "Bearer" and token["scope"] == "pay", token

# And by an assertion. Its audience is the issuer, and it may live for 5 minutes; here it would be an hour.
assert "private_key_jwt" in metadata["token_endpoint_auth_methods_supported"], metadata
key = ECKey.import_key(world["key"])
keyed = OAuth2Session(world["keyed_client_id"], key, token_endpoint_auth_method="private_key_jwt")
keyed.register_client_auth_method(PrivateKeyJWT(issuer, {"exp": int(time.time()) + 60}, alg="ES256"))
assert keyed.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")["access_token"]

# The token is one that PyJWT verifies by the key set.
keys = jwt.PyJWKClient(metadata["jwks_uri"])
key = keys.get_signing_key_from_jwt(token["access_token"])
claims = jwt.decode(
    token["access_token"],
    key,
    algorithms=[key.algorithm_name],
    audience=issuer + "/api",
    issuer=issuer,
    options={"require": ["exp", "iat", "iss", "sub", "aud", "jti", "client_id"]},
)
assert claims["sub"] == client_id, claims

# A refresh token is exchanged for its successor.
renewed = session.refresh_token(metadata["token_endpoint"], refresh_token=world["refresh_token"])
assert renewed["refresh_token"] != world["refresh_token"], renewed

# A token is exchanged for a narrower one.
exchanged = OAuth2Session(client_id, client_secret).fetch_token(
    metadata["token_endpoint"],
    grant_type=EXCHANGE,
    subject_token=world["subject_token"],
    subject_token_type=ACCESS_TOKEN,
    scope="pay",
)
assert exchanged["issued_token_type"] == ACCESS_TOKEN and exchanged["scope"] == "pay", exchanged

# Introspection and revocation.
def introspected(text):
    reply = session.introspect_token(metadata["introspection_endpoint"], token=text)
    assert reply.status_code == 200, reply.text
    return reply.json()

found = introspected(token["access_token"])
assert found["active"] and found["sub"] == client_id and found["exp"] == claims["exp"], found
reply = session.revoke_token(metadata["revocation_endpoint"], token=token["access_token"])
assert reply.status_code == 200, reply.text
assert introspected(token["access_token"]) == {"active": False}

# A refusal has the RFC's code.
try:
    OAuth2Session(client_id, "nonsense").fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    raise AssertionError("a wrong secret was taken")
except Exception as error:
    assert getattr(error, "error", None) == "invalid_client", repr(error)
