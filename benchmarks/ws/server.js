// The Node baseline: the `ws` library, sending to each of its clients.
//
// A text that names `publish` is an order:
//   {"publish": 100, "first": 1, "before": "...", "after": "..."}
// sends 100 messages to everybody who joined, each `before`, its number, `after`. A text that is a push of the protocol,
// ["1",null,"realtime:bench","broadcast",{...}], is relayed to everybody else. Any other is a join. What makes it as fast as ws goes:
// messages are made once, as Buffers, and each client's socket is corked for all that one turn of the loop brought, so
// that a turn is one write per client.
//
// Usage: node server.js PORT
import { WebSocketServer } from "ws";

const joined = new Set();
let messages = [];

function flush() {
  for (const client of joined) {
    client._socket.cork();
    for (const { message, sender } of messages) {
      if (sender !== client) client.send(message, { binary: false });
    }
    client._socket.uncork();
  }
  messages = [];
}

function add(text, sender) {
  if (messages.length === 0) setImmediate(flush);
  messages.push({ message: Buffer.from(text), sender });
}

function publish({ publish: count, first, before, after }) {
  for (let number = first; number < first + count; number++) add(before + number + after);
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  skipUTF8Validation: true,
  backlog: 4096,
});
server.on("connection", (client) => {
  client.on("error", () => client.terminate());
  client.on("close", () => joined.delete(client));
  client.on("message", (bytes) => {
    const text = bytes.toString();
    if (text.startsWith('{"publish"')) return publish(JSON.parse(text));
    const [, , topic, event, payload] = JSON.parse(text);
    if (event === "broadcast") return add(JSON.stringify([null, null, topic, event, payload]), client);
    joined.add(client);
    client.send('["1","1","realtime:bench","phx_reply",{"Subscribed to PostgreSQL":true}]');
  });
});
server.on("listening", () => console.log("READY"));
