// The messages as they came, the latest on top; each opens to its whole JSON.

import { compact, render } from "./json.js";

const MAX_SHOWN = 100;

export class Messages {
  #list;
  #held;
  #waiting = [];
  #heldCount = 0;
  #isPaused = false;
  #isFresh = true;

  /**
   * @param {HTMLElement} list Where they are shown.
   * @param {HTMLElement} held Where it is said how many wait.
   */
  constructor(list, held) {
    this.#list = list;
    this.#held = held;
  }

  /** Take messages, oldest first. */
  add(messages) {
    this.#waiting.push(...messages);
    this.#waiting.splice(0, this.#waiting.length - MAX_SHOWN);
    if (this.#isPaused) {
      this.#heldCount += messages.length;
      this.#held.textContent = `${this.#heldCount} more`;
    } else {
      this.#show();
    }
  }

  /** Stop or go on; return whether it is paused now. */
  togglePause() {
    this.#isPaused = !this.#isPaused;
    this.#heldCount = 0;
    this.#held.textContent = "";
    if (!this.#isPaused) this.#show();
    return this.#isPaused;
  }

  clear() {
    this.#list.replaceChildren();
  }

  #show() {
    const items = this.#waiting.map(itemOf).reverse();
    this.#waiting = [];
    this.#list.prepend(...items);
    while (this.#list.childElementCount > MAX_SHOWN) this.#list.lastElementChild.remove();
    const first = items.find((item) => item.dataset.kind);
    if (this.#isFresh && first) {
      first.querySelector("details").open = true; // one example is open from the start
      this.#isFresh = false;
    }
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

/** Say a row in a few words: of an update, what has changed. */
function compactRow({ type, record, old_record: old }) {
  const row = record ?? old ?? {};
  const isChanged = ([name, value]) => !old || !(name in old) || compact(old[name]) !== compact(value);
  const members = Object.entries(row).filter((member) => type !== "UPDATE" || isChanged(member));
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
