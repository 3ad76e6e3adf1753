// Listens with an official JavaScript client, and prints what an application would get, one JSON object a line.
//
//   node listen.mjs '{"package": "supabase-js", "url": "http://127.0.0.1:4000", "apikey": "...",
//                     "channels": [{"topic": "room", "bindings": [{"event": "*", "schema": "public", "table": "t"}]}]}'
//
//   package       supabase-js | realtime-js | realtime-js-2-15-6 | realtime-js-2-10-7 | realtime-js-1-7-5
//   url           supabase-js: the project's URL; realtime-js: the socket's, for example ws://127.0.0.1:4000/socket
//   apikey        the key
//   vsn           the serializer, "1.0.0" or "2.0.0"; the package's own choice if it is missing
//   params        more parameters for the socket's URL, for example {"resume": "an-id"}
//   heartbeat_ms  how often the client asks whether the server is there; the package's own choice if it is missing
//   follows       keep `since` in every binding at the last change's commit_timestamp, so that a rejoin resumes there
//   converts      realtime-js-1-7-5: convert records with the package's own Transformers, as supabase-js 1 did
//   token         the first token for channels, as `setAuth` takes it; the key if it is missing
//   channels      topics as an application names them, without "realtime:"; `bindings` are those of postgres_changes, and
//                 a filter that is a list of calls, [["eq", "id", 1], ...], is built with the package's own filter builder;
//                 `config` is the channel's own, for example {"private": true}; `broadcasts` are events to listen for, and
//                 `presence` says whether to listen for who comes and goes; `joins` false makes a channel that is not joined.
//                 For realtime-js-1-7-5 the topic is the subscription: "realtime:public:t:id=eq.5"
//
// Lines out: {"status", "topic", "error"?}, {"change", "topic", "listener"} with the index of the binding that was told,
// {"broadcast", "topic"}, {"presence", "topic"} with the whole state after each change, {"comes", "topic"} and
// {"goes", "topic"} with a key, {"did", "topic"} with what came of a command, {"system", "topic"}, {"heartbeat"},
// {"left", "topic"}, {"log"} for what the client says on the console, {"crash"} when it threw where no application could
// have caught it. Bytes are {"hex": "ff00"}.
// Lines in: {"join": {a channel as above}}, {"leave": topic}, {"send" | "httpSend": [event, payload], "topic"},
// {"track": payload, "topic"}, {"untrack": true, "topic"}, {"look": true, "topic"} for who is there, {"setAuth": token}. Ends when standard input does, or by SIGTERM.

import { createInterface } from "node:readline";
import { format } from "node:util";
import WebSocketOfWs from "ws";

// Node 22 has a WebSocket of its own; before, the newest clients want to be given one.
const transport = globalThis.WebSocket ?? WebSocketOfWs;

let hasEnded = false;

function print(line) {
  // What a client says about being closed by us is no news.
  if (!hasEnded) process.stdout.write(`${JSON.stringify(line)}\n`);
}

for (const level of ["debug", "info", "log", "warn", "error"]) {
  console[level] = (...words) => print({ log: format(...words) });
}

const asBytes = (payload) => (payload?.hex === undefined ? payload : Uint8Array.from(Buffer.from(payload.hex, "hex")).buffer);
const asHex = (payload) => (payload instanceof ArrayBuffer ? { hex: Buffer.from(payload).toString("hex") } : payload);

function printStatus(status, topic, error) {
  print({ status, topic, ...(error && { error: String(error.message ?? error) }) });
}

// The clients since 2.0: a channel with listeners; it is left through the client.
function today(client, { follows }, postgresChangesFilter) {
  const joined = new Map();
  return {
    join({ topic, bindings = [], broadcasts = [], presence = false, config = {}, joins = true }) {
      const channel = client.channel(topic, { config });
      for (const event of broadcasts) {
        channel.on("broadcast", { event }, ({ payload, ...message }) =>
          print({ broadcast: { ...message, ...(payload !== undefined && { payload: asHex(payload) }) }, topic }),
        );
      }
      if (presence) {
        channel.on("presence", { event: "sync" }, () => print({ presence: channel.presenceState(), topic }));
        channel.on("presence", { event: "join" }, ({ key }) => print({ comes: key, topic }));
        channel.on("presence", { event: "leave" }, ({ key }) => print({ goes: key, topic }));
      }
      for (const [listener, binding] of bindings.entries()) {
        if (Array.isArray(binding.filter)) {
          binding.filter = binding.filter.reduce((built, [name, ...words]) => built[name](...words), postgresChangesFilter());
        }
        channel.on("postgres_changes", binding, (change) => {
          if (follows) for (const each of bindings) each.since = change.commit_timestamp;
          print({ change, topic, listener });
        });
      }
      channel.on("system", {}, (system) => print({ system, topic }));
      if (joins) channel.subscribe((status, error) => printStatus(status, topic, error));
      joined.set(topic, channel);
    },
    async act({ topic, send, httpSend, track, untrack, look }) {
      const channel = joined.get(topic);
      if (send) print({ did: await channel.send({ type: "broadcast", event: send[0], payload: asBytes(send[1]) }), topic });
      if (httpSend) {
        const sent = channel.httpSend(httpSend[0], asBytes(httpSend[1]));
        print({ did: await sent.catch((error) => ({ raised: error.message })), topic });
      }
      if (track) print({ did: await channel.track(track), topic });
      if (untrack) print({ did: await channel.untrack(), topic });
      if (look) print({ did: channel.presenceState(), topic });
    },
    async leave(topic) {
      print({ left: await client.removeChannel(joined.get(topic)), topic });
    },
    setAuth: (token) => (client.realtime ?? client).setAuth(token),
  };
}

// The clients before: the topic says what is listened to, and the channel has no statuses of its own.
function before(client, { converts }, { convertChangeData }) {
  const joined = new Map();
  function hand(change) {
    if (!converts) return change;
    const { columns, record, old_record } = change;
    return {
      ...change,
      ...(record && { record: convertChangeData(columns, record) }),
      ...(old_record && { old_record: convertChangeData(columns, old_record) }),
    };
  }
  client.connect();
  return {
    join({ topic }) {
      // As supabase-js 1 did.
      const channel = client.channel(topic, client.accessToken ? { user_token: client.accessToken } : {});
      channel.on("*", (change) => print({ change: hand(change), topic, listener: 0 }));
      channel.on("INSERT", (change) => print({ change: hand(change), topic, listener: 1 }));
      channel.on("broadcast", (broadcast) => print({ broadcast, topic }));
      channel.on("system", (system) => print({ system, topic }));
      channel.onError(() => printStatus("CHANNEL_ERROR", topic));
      channel.onClose(() => printStatus("CLOSED", topic));
      channel
        .subscribe()
        .receive("ok", () => printStatus("SUBSCRIBED", topic))
        .receive("error", (reply) => printStatus("CHANNEL_ERROR", topic, JSON.stringify(reply)))
        .receive("timeout", () => printStatus("TIMED_OUT", topic));
      joined.set(topic, channel);
    },
    act({ topic, send: [event, payload] }) {
      joined.get(topic).push("broadcast", { type: "broadcast", event, payload });
      print({ did: "ok", topic });
    },
    setAuth: (token) => client.setAuth(token),
    leave(topic) {
      joined.get(topic).unsubscribe().receive("ok", () => print({ left: "ok", topic }));
    },
  };
}

function options({ apikey, params, heartbeat_ms }) {
  return {
    params: { apikey, ...params },
    heartbeatCallback: (heartbeat) => print({ heartbeat }),
    ...(heartbeat_ms && { heartbeatIntervalMs: heartbeat_ms }),
  };
}

// One entry a package: returns how channels are joined and left, and what ends it.
const PACKAGES = {
  async "supabase-js"(config) {
    const { createClient, postgresChangesFilter } = await import("@supabase/supabase-js");
    const { params, ...rest } = options(config);
    const client = createClient(config.url, config.apikey, {
      auth: { persistSession: false, autoRefreshToken: false },
      realtime: { transport, params: config.params, ...rest, ...(config.vsn && { vsn: config.vsn }) },
    });
    return { ...today(client, config, postgresChangesFilter), end: () => client.realtime.disconnect() };
  },

  async "realtime-js"(config) {
    const { RealtimeClient, postgresChangesFilter } = await import("@supabase/realtime-js");
    const client = new RealtimeClient(config.url, {
      transport,
      ...options(config),
      ...(config.vsn && { vsn: config.vsn }),
    });
    return { ...today(client, config, postgresChangesFilter), end: () => client.disconnect() };
  },

  async "realtime-js-2-15-6"(config) {
    const { RealtimeClient } = await import("realtime-js-2-15-6");
    const client = new RealtimeClient(config.url, { transport, ...options(config) });
    return { ...today(client, config), end: () => client.disconnect() };
  },

  async "realtime-js-2-10-7"(config) {
    const { RealtimeClient } = await import("realtime-js-2-10-7");
    // Given a transport, this version opens the socket and never listens to it; it finds one by itself.
    const client = new RealtimeClient(config.url, options(config));
    return { ...today(client, config), end: () => client.disconnect() };
  },

  async "realtime-js-1-7-5"(config) {
    const { RealtimeClient, Transformers } = await import("realtime-js-1-7-5");
    const client = new RealtimeClient(config.url, options(config));
    return { ...before(client, config, Transformers), end: () => client.disconnect() };
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
const { join, leave, act, setAuth, end } = await listen(config);
if (config.token) await setAuth(config.token);
config.channels.forEach(join);

async function finish() {
  hasEnded = true;
  await end();
  process.exit(0);
}
process.on("SIGTERM", finish);
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.join) join(command.join);
    if (command.leave) leave(command.leave);
    if (command.topic) act(command);
    if (command.setAuth) setAuth(command.setAuth);
  })
  .on("close", finish);
