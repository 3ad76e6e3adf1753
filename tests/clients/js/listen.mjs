// Listens with an official JavaScript client, and prints what an application would get, one JSON object a line.
//
//   node listen.mjs '{"package": "supabase-js", "url": "http://127.0.0.1:4000", "apikey": "...",
//                     "channels": [{"topic": "room", "bindings": [{"event": "*", "schema": "public", "table": "t"}]}]}'
//
//   package    supabase-js | realtime-js | realtime-js-2-10-7 | realtime-js-1-7-5
//   url        supabase-js: the project's URL; realtime-js: the socket's, for example ws://127.0.0.1:4000/socket
//   apikey     the key
//   vsn        the serializer, "1.0.0" or "2.0.0"; the package's own choice if it is missing
//   params     more parameters for the socket's URL, for example {"resume": "an-id"}
//   channels   topics as an application names them, without "realtime:"; `bindings` are those of postgres_changes, and
//              `config` is the channel's own, for example {"private": true}
//   topics     for realtime-js-1-7-5, whose topics are the subscription: "realtime:public:t:id=eq.5"
//
// Lines: {"status", "topic", "error"?}, {"change", "topic"}, {"system", "topic"}, {"crash"} when the client threw where
// no application could have caught it. Ends when standard input does, or by SIGTERM.

import WebSocketOfWs from "ws";

// Node 22 has a WebSocket of its own; before, the newest clients want to be given one.
const transport = globalThis.WebSocket ?? WebSocketOfWs;

let hasEnded = false;

function print(line) {
  // What a client says about being closed by us is no news.
  if (!hasEnded) process.stdout.write(`${JSON.stringify(line)}\n`);
}

function listenToChannels(client, channels) {
  for (const { topic, bindings = [], config = {} } of channels) {
    const channel = client.channel(topic, { config });
    for (const binding of bindings) {
      channel.on("postgres_changes", binding, (change) => print({ change, topic }));
    }
    channel.on("system", {}, (system) => print({ system, topic }));
    channel.subscribe((status, error) => print({ status, topic, ...(error && { error: String(error.message ?? error) }) }));
  }
}

function listenToTopics(client, topics) {
  client.connect();
  for (const topic of topics) {
    const channel = client.channel(topic);
    channel.on("*", (change) => print({ change, topic }));
    channel.on("system", (system) => print({ system, topic }));
    channel.onError(() => print({ status: "CHANNEL_ERROR", topic }));
    channel.onClose(() => print({ status: "CLOSED", topic }));
    channel
      .subscribe()
      .receive("ok", () => print({ status: "SUBSCRIBED", topic }))
      .receive("error", (reply) => print({ status: "CHANNEL_ERROR", topic, error: JSON.stringify(reply) }))
      .receive("timeout", () => print({ status: "TIMED_OUT", topic }));
  }
}

// One entry a package: how it is made and listened with. Returns what ends it.
const PACKAGES = {
  async "supabase-js"({ url, apikey, vsn, params, channels }) {
    const { createClient } = await import("@supabase/supabase-js");
    const client = createClient(url, apikey, {
      auth: { persistSession: false, autoRefreshToken: false },
      realtime: { transport, params, ...(vsn && { vsn }) },
    });
    listenToChannels(client, channels);
    return () => client.realtime.disconnect();
  },

  async "realtime-js"({ url, apikey, vsn, params, channels }) {
    const { RealtimeClient } = await import("@supabase/realtime-js");
    const client = new RealtimeClient(url, { transport, params: { apikey, ...params }, ...(vsn && { vsn }) });
    listenToChannels(client, channels);
    return () => client.disconnect();
  },

  async "realtime-js-2-10-7"({ url, apikey, params, channels }) {
    const { RealtimeClient } = await import("realtime-js-2-10-7");
    // Given a transport, this version opens the socket and never listens to it; it finds one by itself.
    const client = new RealtimeClient(url, { params: { apikey, ...params } });
    listenToChannels(client, channels);
    return () => client.disconnect();
  },

  async "realtime-js-1-7-5"({ url, apikey, params, topics }) {
    const { RealtimeClient } = await import("realtime-js-1-7-5");
    const client = new RealtimeClient(url, { params: { apikey, ...params } });
    listenToTopics(client, topics);
    return () => client.disconnect();
  },
};

process.on("uncaughtException", (error) => {
  print({ crash: String(error?.stack ?? error) });
  process.exit(1);
});

const config = JSON.parse(process.argv[2]);
const listen = PACKAGES[config.package];
if (listen === undefined) {
  throw new Error(`no package ${config.package}; there are ${Object.keys(PACKAGES).join(", ")}`);
}
const end = await listen(config);

async function finish() {
  hasEnded = true;
  await end();
  process.exit(0);
}
process.on("SIGTERM", finish);
process.stdin.on("end", finish).resume();
