import http.client
import json
import os

ADDRESS = os.environ.get("PGCAST_ADDRESS", "localhost:4000")
KEY = os.environ.get("PGCAST_KEY", "none")

messages = [{"topic": "room:1", "event": "cursor", "payload": {"x": 5, "y": 6}}]

connection = http.client.HTTPConnection(ADDRESS)
connection.request(
    "POST", "/api/broadcast", json.dumps({"messages": messages}), {"Content-Type": "application/json", "apikey": KEY}
)
print(connection.getresponse().status)
