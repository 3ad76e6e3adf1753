import json
import os
import urllib.request

URL = os.environ.get("PGCAST_HTTP_URL", "http://localhost:4000")
KEY = os.environ.get("PGCAST_KEY", "none")

messages = [{"topic": "room:1", "event": "cursor", "payload": {"x": 5, "y": 6}}]
request = urllib.request.Request(
    f"{URL}/api/broadcast",
    data=json.dumps({"messages": messages}).encode(),
    headers={"Content-Type": "application/json", "apikey": KEY},
)
with urllib.request.urlopen(request) as response:
    print(response.status)
