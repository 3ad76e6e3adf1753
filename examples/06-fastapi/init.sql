CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL,
    price numeric(10, 2) NOT NULL
);

CREATE PUBLICATION supabase_realtime FOR TABLE orders;
