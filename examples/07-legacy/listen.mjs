// The oldest protocol: a client joins topics, and each topic names what it wants.

import realtime from "@supabase/realtime-js";

const url = process.env.PGCAST_URL ?? "ws://localhost:4000/socket";
const socket = new realtime.RealtimeClient(url, { params: { apikey: process.env.PGCAST_KEY ?? "none" } });

const topics = [
  "realtime:*", // every table of every schema
  "realtime:public", // of one schema
  "realtime:public:todos", // one table
  "realtime:public:todos:user_id=eq.2", // its rows with one value
];

socket.connect();
for (const topic of topics) {
  const channel = socket.channel(topic);
  channel.on("*", ({ type, record, old_record: old }) => {
    console.log(topic, type, JSON.stringify(old ?? {}), "->", JSON.stringify(record ?? {}));
  });
  channel.subscribe().receive("ok", () => console.log(topic, "joined"));
}
