CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL,
    item text NOT NULL
);

-- One row for each order whose e-mail has gone out: the key that makes a repeat harmless.
CREATE TABLE sent_emails (
    order_id bigint PRIMARY KEY,
    sent_at timestamptz NOT NULL DEFAULT now()
);

CREATE PUBLICATION supabase_realtime FOR TABLE orders;
