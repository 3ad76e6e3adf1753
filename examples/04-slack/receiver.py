"""Receives pgcast's webhook, and posts one message to Slack for the purchases of each transaction."""

import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SLACK_URL = os.environ["SLACK_WEBHOOK_URL"]
WEBHOOK = Webhook(os.environ["PGCAST_WEBHOOK_SECRET"])
PORT = int(os.environ.get("RECEIVER_PORT", "8000"))

done: dict[str, None] = {}  # a program that must not forget keeps them in its database


def post_to_slack(purchases: list[dict]) -> None:
    lines = [f"{row['customer']} bought {row['product']} for {row['price']:.2f}" for row in purchases]
    body = json.dumps({"text": "\n".join(lines)}).encode()
    request = urllib.request.Request(SLACK_URL, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            message = WEBHOOK.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.answer(401)
            return
        delivery = self.headers["webhook-id"]
        if delivery not in done:  # a delivery may come again, always with the same id
            try:
                post_to_slack([change["record"] for change in message["changes"]])
            except OSError:
                self.answer(502)  # pgcast tries again, before anything newer
                return
            done[delivery] = None
            if len(done) > 1000:
                del done[next(iter(done))]
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
print(f"waiting for purchases on port {PORT}", flush=True)
server.serve_forever()
