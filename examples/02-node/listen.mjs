// Prints every change of the table todos, and of one user's todos that are done.

import { RealtimeClient } from "@supabase/realtime-js";

const url = process.env.PGCAST_URL ?? "ws://localhost:4000/socket";
const client = new RealtimeClient(url, {
  // The id with which it gets what it missed when the connection breaks.
  params: { apikey: process.env.PGCAST_KEY ?? "none", resume: crypto.randomUUID() },
});

const todos = { event: "*", schema: "public", table: "todos" };

client
  .channel("todos")
  .on("postgres_changes", todos, ({ eventType, old, new: row }) => {
    console.log(eventType, JSON.stringify(old), "->", JSON.stringify(row));
  })
  .on("postgres_changes", { ...todos, filter: "user_id=eq.2,done=eq.true" }, ({ new: row }) => {
    console.log("done by user 2:", row.title);
  })
  .subscribe((status, error) => console.log(status, error?.message ?? ""));
