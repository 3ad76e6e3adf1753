// The tables as the changes leave them: one view per table, rows by primary key, what has just changed highlighted.

import { NumberText, compact, renderInline } from "./json.js";

const MAX_ROWS = 200;
const MAX_LEAVING = 4;
const GLOW_MS = 2600;
const FADE_MS = 1500;

const NUMBERS = new Set(["int2", "int4", "int8", "float4", "float8", "numeric", "money", "oid"]);
const TIMES = new Set(["timestamptz", "timestamp"]);
const PLAIN = new Set([...NUMBERS, ...TIMES, "bool", "text", "varchar", "bpchar", "uuid", "date", "time", "timetz"]);
const NESTED = new Set(["json", "jsonb"]);

export class Tables {
  #root;
  #views = new Map();

  constructor(root) {
    this.#root = root;
  }

  get isEmpty() {
    return this.#views.size === 0;
  }

  /** Show the present rows, latest first, in place of whatever is shown: [{ schema, table, key, columns, rows }]. */
  replace(tables) {
    this.#views.clear();
    this.#root.replaceChildren();
    for (const table of tables) {
      const view = this.#viewOf(table);
      for (const row of [...table.rows].reverse()) view.put(row, row, { isQuiet: true });
    }
  }

  /** Apply one change: the `data` of its message. Applying it again changes nothing. */
  apply(data, { isQuiet = false } = {}) {
    const view = this.#viewOf(data);
    if (data.type === "DELETE") view.remove(data.old_record, { isQuiet });
    else view.put(data.record, data.old_record ?? data.record, { isQuiet });
  }

  #viewOf({ schema, table, columns, key, record, old_record: oldRecord }) {
    const name = JSON.stringify([schema, table]);
    let view = this.#views.get(name);
    if (!view) {
      view = new TableView(schema, table, key ?? guessKey(columns, record, oldRecord));
      this.#views.set(name, view);
      this.#root.append(view.element);
    }
    view.describe(columns);
    return view;
  }
}

/** Guess a table's key from one change: the old row's columns where they are not all, else `id`, else the first. */
function guessKey(columns, record, oldRecord) {
  const names = columns.map(({ name }) => name);
  const old = Object.keys(oldRecord ?? {});
  if (old.length && old.length < Object.keys(record ?? {}).length) return old;
  return [names.includes("id") ? "id" : names[0]];
}

class TableView {
  #key;
  #columns = [];
  #signature = "";
  #rows = new Map();
  #leaving = new Set();
  #head = element("tr");
  #body = element("tbody");
  #count = element("span", "quiet");

  constructor(schema, table, key) {
    this.#key = key;
    this.element = element("section", "card");
    const title = element("h2");
    title.append(...(schema === "public" ? [] : [quiet(`${schema}.`)]), table);
    const header = element("header", "card-head");
    header.append(title, this.#count);
    const grid = element("table");
    const head = element("thead");
    head.append(this.#head);
    grid.append(head, this.#body);
    const scroll = element("div", "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `Rows of ${schema}.${table}`);
    scroll.append(grid);
    this.element.append(header, scroll);
  }

  /** Take the columns, key first; when they have changed, what is shown starts anew. */
  describe(columns) {
    const signature = compact(columns);
    if (signature === this.#signature) return;
    this.#signature = signature;
    const isKey = ({ name }) => this.#key.includes(name);
    this.#columns = [...columns.filter(isKey), ...columns.filter((column) => !isKey(column))];
    this.#head.replaceChildren(
      ...this.#columns.map(({ name, type }) => {
        const cell = element("th", classOf(type));
        cell.scope = "col";
        cell.textContent = name;
        cell.title = type;
        return cell;
      }),
    );
    for (const row of this.#rows.values()) {
      row.element.replaceChildren();
      row.cells.clear();
      this.#fill(row, row.record, { isQuiet: true });
    }
  }

  put(record, oldRecord, { isQuiet }) {
    const key = this.#keyOf(record);
    const oldKey = this.#keyOf(oldRecord);
    let row = this.#rows.get(key);
    const moved = oldKey !== key && this.#hasKey(oldRecord) ? this.#rows.get(oldKey) : undefined;
    if (moved) {
      if (row) this.#drop(row);
      row = moved;
    }
    if (row?.isLeaving) {
      this.#drop(row);
      row = undefined;
    }
    const isNew = row === undefined;
    if (isNew) {
      row = { key, element: element("tr"), cells: new Map(), record: {}, isLeaving: false };
      this.#body.prepend(row.element);
    }
    this.#rows.delete(row.key);
    row.key = key;
    this.#rows.set(key, row);
    this.#fill(row, record, { isQuiet: isQuiet || isNew });
    if (isNew && !isQuiet) glow(row.element, "--glow-insert");
    if (this.#rows.size > MAX_ROWS) this.#drop(this.#rows.values().next().value);
    this.#recount();
  }

  remove(oldRecord, { isQuiet }) {
    const row = this.#rows.get(this.#keyOf(oldRecord));
    if (!row || row.isLeaving) return;
    row.isLeaving = true;
    for (const animation of row.element.getAnimations({ subtree: true })) animation.cancel();
    row.element.classList.add("leaving");
    this.#leaving.add(row);
    // Where rows go faster than they fade, only the last ones are seen going.
    if (this.#leaving.size > MAX_LEAVING) this.#drop(this.#leaving.values().next().value);
    setTimeout(() => this.#drop(row), isQuiet ? 0 : FADE_MS);
    this.#recount();
  }

  #fill(row, record, { isQuiet }) {
    for (const { name, type } of this.#columns) {
      const isNew = !row.cells.has(name);
      if (isNew) {
        row.cells.set(name, element("td", classOf(type)));
        row.element.append(row.cells.get(name));
      }
      const before = row.record[name];
      // A column that is missing was not written again: a large value that stayed as it is.
      const value = name in record ? record[name] : before;
      const isSame = before !== undefined && compact(value) === compact(before);
      if (isSame && !isNew) continue;
      row.record[name] = value;
      show(row.cells.get(name), value, type);
      if (!isQuiet && !isSame) glow(row.cells.get(name), "--glow-update");
    }
  }

  #drop(row) {
    row.element.remove();
    this.#leaving.delete(row);
    if (this.#rows.get(row.key) === row) this.#rows.delete(row.key);
    this.#recount();
  }

  #recount() {
    const rows = this.#rows.size - this.#leaving.size;
    this.#count.textContent = rows < MAX_ROWS ? `${rows} ${rows === 1 ? "row" : "rows"}` : `the latest ${MAX_ROWS} rows`;
  }

  #hasKey(record) {
    return this.#key.every((name) => name in record);
  }

  #keyOf(record) {
    return compact(this.#key.map((name) => record[name] ?? null));
  }
}

function show(cell, value, type) {
  cell.replaceChildren();
  cell.removeAttribute("title");
  if (value === undefined || value === null) {
    cell.append(quiet(value === null ? "null" : "…"));
  } else if (typeof value === "boolean") {
    const mark = element("span", value ? "yes" : "no");
    mark.textContent = String(value);
    cell.append(mark);
  } else if (TIMES.has(type) && !Number.isNaN(Date.parse(value))) {
    cell.textContent = new Date(value).toLocaleTimeString([], { hour12: false });
    cell.title = value;
  } else if (typeof value === "string" && !PLAIN.has(type) && value.length <= 24) {
    // An enum, or another type of the user's: a word worth seeing from afar.
    const tag = element("span", "tag");
    tag.dataset.hue = String(hueOf(type, value));
    tag.textContent = value.replaceAll("_", " ");
    cell.append(tag);
  } else if (typeof value === "object" && !(value instanceof NumberText)) {
    const code = element("code");
    renderInline(code, value);
    cell.append(code);
    cell.title = compact(value);
  } else {
    cell.textContent = value instanceof NumberText ? value.text : value;
    if (cell.textContent.length > 24) cell.title = cell.textContent;
  }
}

function classOf(type) {
  if (NUMBERS.has(type)) return "number";
  if (NESTED.has(type)) return "nested";
  return "";
}

const HUES = 8;
const hues = new Map();

/** Give each word of a type another colour, in the order in which they appear. */
function hueOf(type, word) {
  if (!hues.has(type)) hues.set(type, new Map());
  const words = hues.get(type);
  if (!words.has(word)) words.set(word, words.size % HUES);
  return words.get(word);
}

function glow(target, variable) {
  const color = getComputedStyle(document.documentElement).getPropertyValue(variable);
  target.animate([{ backgroundColor: color }, { backgroundColor: color, offset: 0.25 }, { backgroundColor: "transparent" }], {
    duration: GLOW_MS,
    easing: "ease-out",
  });
}

function quiet(text) {
  const span = element("span", "quiet");
  span.textContent = text;
  return span;
}

function element(tag, className = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}
