import os
import time

from joserfc import jwt
from joserfc.jwk import OctKey

claims = {"role": "anon", "exp": int(time.time()) + 3600}
print(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(os.environ["JWT_SECRET"])))
