import { createClient } from "@supabase/supabase-js";

const client = createClient(process.env.PGCAST_URL ?? "http://localhost:4000", process.env.PGCAST_KEY ?? "none");

client
  .channel("todos")
  .on("postgres_changes", { event: "*", schema: "public", table: "todos" }, (change) => {
    console.log(change.eventType, JSON.stringify(change.old), JSON.stringify(change.new));
  })
  .subscribe((status) => console.log(status));
