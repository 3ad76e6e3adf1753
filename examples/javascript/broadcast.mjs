import { createClient } from "@supabase/supabase-js";

const client = createClient(process.env.PGCAST_URL ?? "http://localhost:4000", process.env.PGCAST_KEY ?? "none");

const room = client
  .channel("room:1", { config: { broadcast: { self: true, ack: true } } })
  .on("broadcast", { event: "cursor" }, ({ payload }) => console.log("cursor", JSON.stringify(payload)))
  .subscribe(async (status) => {
    console.log(status);
    if (status === "SUBSCRIBED") {
      console.log("sent:", await room.send({ type: "broadcast", event: "cursor", payload: { x: 3, y: 4 } }));
    }
  });
