"""Send an e-mail for every order, once."""

import os
import smtplib
from email.message import EmailMessage
from typing import Any

import psycopg

import pgcast

DATABASE_URL = os.environ["DATABASE_URL"]
SMTP_HOST = os.environ.get("SMTP_HOST", "localhost")
SMTP_PORT = int(os.environ.get("SMTP_PORT", "25"))

CLAIM = "INSERT INTO sent_emails (order_id) VALUES (%s) ON CONFLICT DO NOTHING"
UNSENT = "SELECT id, email, item FROM orders WHERE id NOT IN (SELECT order_id FROM sent_emails) ORDER BY id"

Database = psycopg.Connection[tuple[Any, ...]]


def main() -> None:
    with (
        psycopg.connect(DATABASE_URL, autocommit=True) as database,
        pgcast.listen_sync(DATABASE_URL, tables="orders", events=["INSERT"], slot="mailer") as changes,
    ):
        print("waiting for orders", flush=True)
        catch_up(database)
        while True:
            try:
                for change in changes:
                    order = change.record or {}
                    send_once(database, order["id"], order["email"], order["item"])
            except pgcast.GapDetected:
                catch_up(database)


def catch_up(database: Database) -> None:
    """Look for orders that no change may tell of: those from before the slot, and those that a lost slot had."""
    for order_id, email, item in database.execute(UNSENT).fetchall():
        send_once(database, order_id, email, item)


def send_once(database: Database, order_id: int, email: str, item: str) -> None:
    """Send, unless the key says that it was done; the key is kept only if sending worked."""
    with database.transaction():
        if database.execute(CLAIM, [order_id]).rowcount:
            send(order_id, email, item)


def send(order_id: int, email: str, item: str) -> None:
    message = EmailMessage()
    # The key goes with it: a mailbox keeps one of two messages with the same Message-ID.
    message["Message-ID"] = f"<order-{order_id}@shop.example>"
    message["From"] = "shop@shop.example"
    message["To"] = email
    message["Subject"] = f"Your order {order_id}"
    message.set_content(f"Thank you for ordering {item}.")
    with smtplib.SMTP(SMTP_HOST, SMTP_PORT, timeout=30) as server:
        server.send_message(message)


if __name__ == "__main__":
    main()
