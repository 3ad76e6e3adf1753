// One channel of the realtime protocol, version 2.0.0, over a WebSocket that comes back by itself.
//
// A message is the array [join_ref, ref, topic, event, payload]. After a reconnect the channel is joined with `since`,
// the position of the last change that arrived, so that what was committed meanwhile comes first.

import { parse } from "./json.js";

const TOPIC = "realtime:inspector";
const BEAT_MS = 25_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

export class Connection {
  #url;
  #on;
  #socket = null;
  #ref = 0;
  #joinRef = null;
  #beatRef = null;
  #beat = null;
  #retry = null;
  #waitMs = FIRST_WAIT_MS;
  #since = null;

  /**
   * @param {string} url The WebSocket's address.
   * @param {object} on What to call: `state(name)`, `live(isResumed)` once every change from now on comes,
   *     `change(data)`, `message(array)`, `gap(text)`, `trouble(text)`.
   */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    window.addEventListener("online", () => this.#retry && this.open());
  }

  open() {
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#on.state("connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => this.#join();
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => this.#closed();
  }

  #join() {
    const binding = { event: "*", schema: "*", ...(this.#since && { since: this.#since }) };
    this.#joinRef = String(this.#ref + 1);
    this.#push(TOPIC, "phx_join", { config: { postgres_changes: [binding] } }, this.#joinRef);
    this.#beatRef = null;
    this.#beat = setInterval(() => this.#heartbeat(), BEAT_MS);
  }

  #heartbeat() {
    if (this.#beatRef !== null) {
      this.#socket.close(); // the last one was not answered: the way is dead, though nobody has said so
      return;
    }
    this.#beatRef = this.#push("phoenix", "heartbeat", {}, null);
  }

  #push(topic, event, payload, joinRef) {
    const ref = String(++this.#ref);
    this.#socket.send(JSON.stringify([joinRef, ref, topic, event, payload]));
    return ref;
  }

  #receive(text) {
    const message = parse(text);
    const [, ref, , event, payload] = message;
    if (event === "phx_reply" && ref === this.#beatRef) {
      this.#beatRef = null;
      return;
    }
    this.#on.message(message);
    if (event === "postgres_changes") {
      this.#since = payload.data.position;
      this.#on.change(payload.data);
    } else if (event === "phx_reply" && ref === this.#joinRef) {
      this.#joined(payload);
    } else if (event === "system") {
      this.#told(payload);
    } else if (event === "phx_error" || event === "phx_close") {
      this.#socket.close();
    }
  }

  #joined(payload) {
    if (payload.status !== "ok") {
      this.#on.trouble(`The server refused: ${payload.response?.reason ?? "no reason given"}`);
      this.#socket.close();
      return;
    }
    this.#waitMs = FIRST_WAIT_MS;
    this.#on.state("waiting for the database"); // in most cases the word that it is there follows at once
  }

  #told(payload) {
    if (payload.code === "GapDetected") {
      this.#on.gap(payload.message);
    } else if (payload.extension === "postgres_changes" && payload.status === "ok") {
      this.#on.state("live");
      this.#on.live(this.#since !== null);
    } else if (payload.status === "error") {
      this.#since = null;
      this.#on.trouble(payload.message);
    }
  }

  #closed() {
    clearInterval(this.#beat);
    this.#on.state("reconnecting");
    // A random share of the wait, so that all pages do not come back at once.
    this.#retry = setTimeout(() => this.open(), this.#waitMs * (0.5 + Math.random() / 2));
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS);
  }
}
