"""A small OpenID Connect issuer: a discovery document, public keys, and RS256 tokens for demo users
and tests.

It takes the place of Cognito, Auth0 or Clerk. API Gateway's authorizer verifies its tokens in the
same way.
"""

from __future__ import annotations

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "portcullis-local"
TOKEN_SECONDS = 3600


class Issuer:
    """Signs tokens as `url`, with a key of its own: no other issuer can sign a valid token."""

    def __init__(self, url: str, *, audience: str = AUDIENCE, key_id: str = "local-1") -> None:
        self.url = url
        self.audience = audience
        self.key_id = key_id
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def discovery(self) -> dict[str, Any]:
        """Return the document at /.well-known/openid-configuration."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/.well-known/jwks.json",
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def keys(self) -> dict[str, Any]:
        """Return the JSON Web Key Set at /.well-known/jwks.json, which holds public keys only."""
        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self.key_id, "alg": "RS256", "use": "sig"}]}

    def token(
        self,
        subject: str,
        *,
        scope: str = "openid",
        lifetime: float = TOKEN_SECONDS,
        **claims: Any,
    ) -> str:
        """Return an access token for `subject`.

        A negative `lifetime` (seconds) makes an expired token. `claims` add to the usual claims or
        replace them; None removes a claim.
        """
        now = int(time.time())
        payload = {
            "sub": subject,
            "iss": self.url,
            "aud": self.audience,
            "iat": now - (TOKEN_SECONDS if lifetime < 0 else 0),
            "exp": int(now + lifetime),
            "scope": scope,
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not None},
            self._key,
            algorithm="RS256",
            headers={"kid": self.key_id},
        )
