import { createClient } from "@supabase/supabase-js";

const client = createClient(process.env.PGCAST_URL ?? "http://localhost:4000", process.env.PGCAST_KEY ?? "none");
const binding = { event: "*", schema: "public", table: "todos" };

client
  .channel("todos")
  .on("postgres_changes", binding, (change) => {
    binding.since = change.commit_timestamp; // sent again whenever the client joins again
    console.log(change.eventType, JSON.stringify(change.old), JSON.stringify(change.new));
  })
  .on("system", {}, (told) => console.log(told.message)) // also that a gap was detected
  .subscribe((status) => console.log(status));
