import { createClient } from "@supabase/supabase-js";

const client = createClient(process.env.PGCAST_URL ?? "http://localhost:4000", process.env.PGCAST_KEY ?? "none");

const room = client
  .channel("room:1", { config: { presence: { key: "ada" } } })
  .on("presence", { event: "sync" }, () => console.log("here:", JSON.stringify(room.presenceState())))
  .on("presence", { event: "join" }, ({ key }) => console.log("came:", key))
  .on("presence", { event: "leave" }, ({ key }) => console.log("went:", key))
  .subscribe(async (status) => {
    console.log(status);
    if (status === "SUBSCRIBED") await room.track({ typing: false });
  });
