// The numbers in the header: how many changes, how fast they come, how old they are when they arrive.

const SECONDS = 60;
const AVERAGED_S = 5;
const MAX_LATENCIES = 25;

export class Gauges {
  #fields;
  #buckets = new Array(SECONDS).fill(0);
  #total = 0;
  #latencies = [];
  #position = "";

  /** @param {object} fields The elements: `rate`, `total`, `latency`, `position`, `line`, `area`. */
  constructor(fields) {
    this.#fields = fields;
    setInterval(() => this.#tick(), 1000);
  }

  /** Count one change; `arrivedMs` is when it came, on the clock of Date. */
  count(data, arrivedMs) {
    this.#total += 1;
    this.#buckets[SECONDS - 1] += 1;
    this.#position = data.position;
    this.#latencies.push(Math.max(0, arrivedMs - Date.parse(data.commit_timestamp)));
    if (this.#latencies.length > MAX_LATENCIES) this.#latencies.shift();
  }

  /** Write the numbers out; once per frame at most. */
  show() {
    this.#fields.total.textContent = this.#total.toLocaleString("en");
    if (!this.#latencies.length) return;
    const sorted = [...this.#latencies].sort((one, other) => one - other);
    const median = sorted[Math.floor(sorted.length / 2)];
    this.#fields.latency.textContent = median < 10_000 ? `${median} ms` : `${Math.round(median / 1000)} s`;
    this.#fields.position.textContent = this.#position;
    this.#fields.position.title = this.#position;
  }

  #tick() {
    const recent = this.#buckets.slice(-AVERAGED_S);
    const perSecond = recent.reduce((sum, count) => sum + count, 0) / AVERAGED_S;
    this.#fields.rate.textContent = perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en");
    this.#draw();
    this.#buckets.push(0);
    this.#buckets.shift();
  }

  #draw() {
    const highest = Math.max(4, ...this.#buckets);
    const points = this.#buckets.map((count, second) => {
      const x = (second / (SECONDS - 1)) * 120;
      return `${x.toFixed(1)} ${(26 - (count / highest) * 24).toFixed(1)}`;
    });
    this.#fields.line.setAttribute("d", `M${points.join("L")}`);
    this.#fields.area.setAttribute("d", `M0 28L${points.join("L")}L120 28Z`);
  }
}
