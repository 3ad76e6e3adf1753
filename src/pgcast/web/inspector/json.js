// JSON to values and back to text, with every number as it was written: 24.90 stays 24.90, and no digit of a large
// one is lost.

export class NumberText {
  constructor(text) {
    this.text = text;
  }
}

/** Parse a text. Browsers that do not tell a number's source give it as JavaScript prints it. */
export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" ? new NumberText(context?.source ?? String(value)) : value,
  );
}

/** Return a value as JSON in one line. */
export function compact(value) {
  if (value instanceof NumberText) return value.text;
  if (Array.isArray(value)) return `[${value.map(compact).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}: ${compact(member)}`);
    return members.length ? `{ ${members.join(", ")} }` : "{}";
  }
  return JSON.stringify(value) ?? "null";
}

const WIDTH = 68;

/** Append a value to an element, coloured; what is short stays in one line. */
export function render(parent, value) {
  lay(parent, value, "", WIDTH);
}

/** Append a value to an element, coloured, in one line. */
export function renderInline(parent, value) {
  lay(parent, value, "", Infinity);
}

function lay(parent, value, indent, width) {
  if (value === null || typeof value !== "object" || value instanceof NumberText) {
    append(parent, compact(value), kindOf(value));
    return;
  }
  const isArray = Array.isArray(value);
  const members = isArray ? value.map((member) => [null, member]) : Object.entries(value);
  const [open, close] = isArray ? "[]" : "{}";
  const isShort = indent.length + compact(value).length <= width;
  const inner = `${indent}  `;
  const space = members.length && !isArray ? " " : "";
  append(parent, open);
  members.forEach(([name, member], number) => {
    if (number) append(parent, isShort ? ", " : ",");
    append(parent, isShort ? (number ? "" : space) : `\n${inner}`);
    if (name !== null) {
      append(parent, JSON.stringify(name), "name");
      append(parent, ": ");
    }
    lay(parent, member, inner, width);
  });
  append(parent, isShort ? space : `\n${indent}`);
  append(parent, close);
}

/** Say what a value is, for its colour. */
export function kindOf(value) {
  if (value instanceof NumberText) return "number";
  if (value === null) return "null";
  return typeof value;
}

function append(parent, text, kind) {
  if (!text) return;
  if (!kind) {
    parent.append(text);
    return;
  }
  const span = document.createElement("span");
  span.className = `json-${kind}`;
  span.textContent = text;
  parent.append(span);
}
