// The messages as they came, the latest on top; each opens to its whole JSON.

import { compact, render } from "./json.js";

const MAX_SHOWN = 100;

export class Messages {
  isPaused = false;
  #list;
  #held;
  #waiting = [];
  #heldCount = 0;
  #whenPaused;

  /**
   * @param {HTMLElement} list Where they are shown.
   * @param {HTMLElement} held Where it is said how many wait.
   * @param {(isPaused: boolean) => void} whenPaused Told when the list stops or goes on.
   */
  constructor(list, held, whenPaused) {
    this.#list = list;
    this.#held = held;
    this.#whenPaused = whenPaused;
    // What somebody reads must not move away. The event does not bubble, but it can be captured.
    list.addEventListener("toggle", (event) => event.target.open && this.pause(true), true);
  }

  /** Take messages, oldest first. */
  add(messages) {
    if (!messages.length) return;
    this.#waiting.push(...messages);
    this.#waiting.splice(0, this.#waiting.length - MAX_SHOWN);
    if (this.isPaused) {
      this.#heldCount += messages.length;
      this.#held.textContent = `paused, ${this.#heldCount} more`;
    } else {
      this.#show();
    }
  }

  /** Stop, or go on with what has come meanwhile. */
  pause(isPaused) {
    if (isPaused === this.isPaused) return;
    this.isPaused = isPaused;
    this.#heldCount = 0;
    this.#held.textContent = isPaused ? "paused" : "";
    if (!isPaused) this.#show();
    this.#whenPaused(isPaused);
  }

  clear() {
    this.#list.replaceChildren();
  }

  #show() {
    const items = this.#waiting.map(itemOf).reverse();
    this.#waiting = [];
    this.#list.prepend(...items);
    while (this.#list.childElementCount > MAX_SHOWN) this.#list.lastElementChild.remove();
  }
}

function itemOf(message) {
  const [, , , event, payload] = message;
  const data = event === "postgres_changes" ? payload.data : null;
  const item = document.createElement("li");
  if (data) item.dataset.kind = data.type;
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.append(
    span("time", data ? clock(data.commit_timestamp) : ""),
    span("kind", data ? data.type : event),
    span("where", data ? data.table : summaryOf(payload)),
    span("what", data ? compactRow(data) : ""),
  );
  details.append(summary);
  // The JSON is laid out when somebody looks.
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("pre")) return;
    const pre = document.createElement("pre");
    render(pre, message);
    details.append(pre);
  });
  item.append(details);
  return item;
}

/** Say a row in a few words: of an update, which row, and what has changed. */
function compactRow({ type, record, old_record: old }) {
  const row = record ?? old ?? {};
  const isWorthSaying = ([name, value]) =>
    type !== "UPDATE" || name === "id" || !old || !(name in old) || compact(old[name]) !== compact(value);
  const members = Object.entries(row).filter(isWorthSaying);
  return members.map(([name, value]) => `${name} ${typeof value === "string" ? value : compact(value)}`).join(", ");
}

function summaryOf(payload) {
  return payload?.message ?? payload?.status ?? "";
}

function clock(timestamp) {
  return new Date(timestamp).toLocaleTimeString([], { hour12: false });
}

function span(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}
