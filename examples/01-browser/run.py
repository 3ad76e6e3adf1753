"""Fetch supabase-js once, then start a Postgres of our own, the server and the page.

Everything behind `run.py` is passed to `pgcast demo`, such as `--port 4001`.
"""

import base64
import hashlib
import io
import os
import sys
import tarfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENT = HERE / "supabase.js"
REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY") or "https://registry.npmjs.org"
PACKAGE = "@supabase/supabase-js/-/supabase-js-2.119.1.tgz"
SHA512 = "uypIljL8NVQ6de+Z2F2qPW5HW2Isavh/NmpuqUo8AKpoj1NvbNZTy5sMeA0NWy/kXxcpwq94abKOvQnbjSkR0w=="
MAX_BYTES = 10_000_000


def fetch_client() -> None:
    """Download the package, and keep of it the one file that a page can load as it is."""
    url = f"{REGISTRY.rstrip('/')}/{PACKAGE}"
    print(f"fetching {url}", flush=True)
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            archive = response.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot fetch supabase-js: {error}\n  fix: set NPM_CONFIG_REGISTRY, or put the file at {CLIENT}")
    if base64.b64encode(hashlib.sha512(archive).digest()).decode() != SHA512:
        sys.exit(f"{url} is not the package that was expected: its SHA-512 differs")
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        file = package.extractfile("package/dist/umd/supabase.js")
        assert file is not None  # noqa: S101 - the hash says so
        CLIENT.write_bytes(file.read())


if not CLIENT.exists():
    fetch_client()
os.execv(sys.executable, [sys.executable, "-m", "pgcast", "demo", "--folder", str(HERE), *sys.argv[1:]])  # noqa: S606 - ourselves
