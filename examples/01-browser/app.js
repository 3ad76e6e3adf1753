// Todos of two tables, live: join first, then read the rows, then apply what has changed since the join.

// Another server than the one that serves this page: index.html?url=http://localhost:4000
const url = new URLSearchParams(location.search).get("url") ?? location.origin;
const client = supabase.createClient(url, "none");

const tables = { users: new Map(), todos: new Map() };
let early = []; // changes that came before the rows; null once these are there

client
  .channel("todos")
  .on("postgres_changes", { event: "*", schema: "public", table: "users" }, take)
  .on("postgres_changes", { event: "*", schema: "public", table: "todos" }, take)
  .subscribe(async (status) => {
    if (status === "SUBSCRIBED") await load(); // also after each break of the connection
    document.querySelector("#status").textContent = status.toLowerCase();
  });

async function load() {
  early = [];
  const response = await fetch("demo/rows");
  if (response.ok) {
    for (const { table, rows } of (await response.json()).tables) {
      tables[table] = new Map(rows.map((row) => [row.id, row]));
    }
  }
  early.forEach(apply);
  early = null;
  draw();
}

function take(change) {
  if (early) {
    early.push(change);
    return;
  }
  apply(change);
  draw(change);
}

// A change carries the whole row, so applying one that the rows contain already does no harm.
function apply({ eventType, table, new: row, old }) {
  if (eventType === "DELETE") tables[table].delete(old.id);
  else tables[table].set(row.id, row);
}

function draw(change) {
  const sections = [...tables.users.values()]
    .sort((one, other) => one.id - other.id)
    .map((user) => {
      const section = document.createElement("section");
      section.append(element("h2", user.name, isNew(change, "users", user)));
      const list = document.createElement("ul");
      for (const todo of [...tables.todos.values()].sort((one, other) => one.id - other.id)) {
        if (todo.user_id !== user.id) continue;
        const item = element("li", todo.title, isNew(change, "todos", todo));
        item.classList.toggle("done", todo.done);
        list.append(item);
      }
      section.append(list);
      return section;
    });
  document.querySelector("main").replaceChildren(...sections);
}

function isNew(change, table, row) {
  return change?.table === table && change.new?.id === row.id;
}

function element(name, text, glows) {
  const made = document.createElement(name);
  made.textContent = text;
  made.classList.toggle("new", glows);
  return made;
}
