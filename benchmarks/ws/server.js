// The Node baseline: the `ws` library, sending to each of its clients.
//
// A text that names `publish` is an order, any other is a join:
//   {"publish": 100, "first": 1, "before": "...", "after": "..."}
// sends 100 messages to everybody who joined, each `before`, its number, `after`. What makes it as fast as ws goes:
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
    for (const message of messages) client.send(message, { binary: false });
    client._socket.uncork();
  }
  messages = [];
}

function publish({ publish: count, first, before, after }) {
  if (messages.length === 0) setImmediate(flush);
  for (let number = first; number < first + count; number++) messages.push(Buffer.from(before + number + after));
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  skipUTF8Validation: true,
});
server.on("connection", (client) => {
  client.on("error", () => client.terminate());
  client.on("close", () => joined.delete(client));
  client.on("message", (bytes) => {
    const text = bytes.toString();
    if (text.startsWith('{"publish"')) return publish(JSON.parse(text));
    joined.add(client);
    client.send("Subscribed to PostgreSQL");
  });
});
server.on("listening", () => console.log("READY"));
