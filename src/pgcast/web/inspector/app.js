// Joins the pieces of the page: what the connection brings goes to the tables, the list of messages and the gauges.
//
// The tables are primed where the server offers their rows (the demo does). The order matters: first join, which means
// every change from now on; when the server says that this is in force, fetch the rows; then apply all changes that came
// since the join. A change that the rows contain already is applied a second time, which is harmless, because it carries
// the whole row.

import { Connection } from "./connection.js";
import { Gauges } from "./gauges.js";
import { parse } from "./json.js";
import { Messages } from "./messages.js";
import { Tables } from "./tables.js";

const ROWS_URL = "/demo/rows";
const ROWS_DEADLINE_MS = 10_000;
// More than that in one frame, and nobody could follow the colours.
const MAX_GLOWING = 60;

const find = (id) => document.getElementById(id);

const tables = new Tables(find("tables"));
const messages = new Messages(find("messages"), find("held"), showPause);
const gauges = new Gauges({
  rate: find("rate"),
  total: find("total"),
  latency: find("latency"),
  position: find("position"),
  line: find("spark-line"),
  area: find("spark-area"),
});

let changes = [];
let arrived = [];
let isFrameDue = false;
let isPriming = false;
let primings = 0;

const scheme = location.protocol === "https:" ? "wss" : "ws";
const address = `${scheme}://${location.host}`;
const connection = new Connection(`${address}/socket/websocket?vsn=2.0.0`, {
  state: showState,
  live: (isResumed) => {
    notify("");
    if (!isResumed) prime();
  },
  change: (data) => {
    gauges.count(data, Date.now());
    changes.push(data);
    showSoon();
  },
  message: (message) => {
    arrived.push(message);
    showSoon();
  },
  gap: () => {
    notify("Some changes were missed while the connection was down; the tables were read again.");
    prime();
  },
  trouble: notify,
});

/** Fetch the rows while the changes wait; the latest call wins. */
async function prime() {
  const mine = ++primings;
  isPriming = true;
  const rows = await fetchRows();
  if (mine !== primings) return;
  if (rows) tables.replace(rows);
  isPriming = false;
  showSoon();
}

async function fetchRows() {
  try {
    const response = await fetch(ROWS_URL, { cache: "no-store", signal: AbortSignal.timeout(ROWS_DEADLINE_MS) });
    return response.ok ? parse(await response.text()).tables : null;
  } catch {
    return null; // the connection is gone, too, and will come back
  }
}

/** Show what has come, once per frame. A page in the background gets no frames, but keeps up all the same. */
function showSoon() {
  if (isFrameDue) return;
  isFrameDue = true;
  if (document.hidden) setTimeout(show, 250);
  else requestAnimationFrame(show);
}

function show() {
  isFrameDue = false;
  messages.add(arrived);
  arrived = [];
  gauges.show();
  if (!isPriming) {
    const isQuiet = changes.length > MAX_GLOWING;
    for (const data of changes) tables.apply(data, { isQuiet });
    changes = [];
  }
  find("empty").hidden = !tables.isEmpty;
}

function showState(name) {
  find("state").textContent = name;
  find("state").dataset.state = name;
}

function notify(text) {
  find("notice").textContent = text;
  find("notice").hidden = !text;
}

function showPause(isPaused) {
  find("pause").setAttribute("aria-pressed", String(isPaused));
  find("pause").textContent = isPaused ? "Resume" : "Pause";
}

find("pause").addEventListener("click", () => messages.pause(!messages.isPaused));
find("clear").addEventListener("click", () => messages.clear());

find("address").textContent = address;
connection.open();
