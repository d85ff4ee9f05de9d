"use strict";
// Asks for the snapshot once a second, remembers what each one added to the one before, and draws.
// What comes from the wire is put into the page as text, never as markup.

const EVERY = 1000;          // between two questions, in ms
const PATIENCE = 5000;       // an answer is waited for so long
const REMEMBERED = 300;      // columns: five minutes
const LONG = 3 * EVERY;      // after a longer break the columns are not joined
const ROWS = 12;             // of a table, until more are asked for
const QUANTILES = ["p50", "p90", "p99", "max"];
const $ = (id) => document.getElementById(id);

// What is known, and what the user chose.
let now = null;              // the latest snapshot
let columns = [];            // what each answer added; null where there is a break
let losses = [];             // of the last seconds: {at, stage, count}
let failing = 0, since = 0;  // failed questions in a row, and since when
const choice = { port: "", span: "", sort: {}, more: {} };

// --- Numbers for people. Three significant digits for times and rates, all digits for counts.

const round = (x) => (x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : grouped(Math.round(x)));
const grouped = (n) => n.toLocaleString("en-US");
const scaled = (n, units) => {
  let [size, unit] = units[0];
  for (const [larger, name] of units) if (n >= larger * 0.9995) [size, unit] = [larger, name];
  return size === 1 ? `${Math.round(n)} ${unit}` : `${round(n / size)} ${unit}`;
};
const time = (ns) => scaled(ns, [[1, "ns"], [1e3, "µs"], [1e6, "ms"], [1e9, "s"]]);
const bytes = (n) => scaled(n, [[1, "B"], [1e3, "kB"], [1e6, "MB"], [1e9, "GB"], [1e12, "TB"]]);
const rate = (n, ns) => (ns > 0 ? `${round(n / (ns / 1e9))}/s` : "–");
const part = (n, of) => (of > 0 ? `${round((100 * n) / of)} %` : "–");
const bound = (ns) => (ns >= 1e9 ? `${ns / 1e9} s` : ns >= 1e6 ? `${ns / 1e6} ms` : `${ns / 1e3} µs`);
const clock = (ms, digits) => new Date(ms).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: digits });
const long = (ns) => {
  const s = Math.floor(ns / 1e9), m = Math.floor(s / 60), h = Math.floor(m / 60);
  return h > 47 ? `${Math.floor(h / 24)} days` : h ? `${h} h ${m % 60} min` : m ? `${m} min ${s % 60} s` : time(ns);
};

// --- Latencies. The same definition of quantiles as the program's: docs/statistics.md.

const power = (place) => Math.max(0, Math.floor(place / 64) - 1);
const least = (place) => (place < 64 ? place : (64 + (place % 64)) * 2 ** power(place));
const middle = (place) => least(place) + (place < 128 ? 0 : 2 ** (power(place) - 1));
const roundedUp = (x) => {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(x || 1)) - 10);
  return Math.floor(x / step) * step + step - 1;
};

function quantile(histogram, count, max, share) {
  const rank = Math.max(1, Math.ceil(share * count));
  let reached = 0;
  for (const [place, n] of histogram) {
    reached += n;
    if (reached >= rank) return Math.min(roundedUp(Math.min(middle(place), max)), max);
  }
  return 0;
}

function latency(histogram, sum, max) {
  const count = histogram.reduce((all, [, n]) => all + n, 0);
  const of = (share) => quantile(histogram, count, max, share);
  return { count, sum, avg: count ? Math.floor(sum / count) : 0, p50: of(0.5), p90: of(0.9), p99: of(0.99), max, histogram };
}

function merged(latencies) {
  if (latencies.length === 1) return latencies[0];
  const places = new Map();
  for (const one of latencies) for (const [place, n] of one.histogram) places.set(place, (places.get(place) || 0) + n);
  const histogram = [...places].sort((a, b) => a[0] - b[0]);
  return latency(histogram, total(latencies, (one) => one.sum), Math.max(0, ...latencies.map((one) => one.max)));
}

const total = (list, of) => list.reduce((all, one) => all + of(one), 0);

// --- What is shown: the chosen ports of the chosen period, added up.

const COUNTS = ["requests", "slow", "errors", "hits", "misses", "request_bytes", "response_bytes", "unanswered",
  "blocking", "ambiguous", "resynced", "one_way", "orphans", "late"];
const TCP = ["open", "opened", "closed", "resets", "syn_retries", "retransmissions", "out_of_order", "zero_windows"];

const period = () => now.periods.find((one) => one.span === choice.span) || now.periods[0];
const isChosen = (port) => choice.port === "" || String(port) === choice.port;

function figures(ports) {
  const sums = Object.fromEntries(COUNTS.map((name) => [name, total(ports, (port) => port[name])]));
  const tcp = Object.fromEntries(TCP.map((name) => [name, total(ports, (port) => port.tcp[name])]));
  tcp.handshake = merged(ports.map((port) => port.tcp.handshake));
  const kinds = new Map();
  for (const port of ports) for (const one of port.commands) {
    const name = one.protocol + " " + one.command;
    kinds.set(name, [...(kinds.get(name) || []), one]);
  }
  return {
    ...sums, tcp, latency: merged(ports.map((port) => port.latency)),
    latencies: now.bounds_ns.concat(0).map((_, row) => total(ports, (port) => port.latencies[row] || 0)),
    in_bytes: total(ports, (port) => port.traffic.in_bytes), out_bytes: total(ports, (port) => port.traffic.out_bytes),
    statuses: ports.flatMap((port) => port.statuses.map((status) => ({ ...status, port: port.port }))),
    commands: [...kinds.values()].map(command),
  };
}

function command(same) {
  const sum = (name) => total(same, (one) => one[name]);
  return { protocol: same[0].protocol, command: same[0].command, requests: sum("requests"), errors: sum("errors"),
    unanswered: sum("unanswered"), hits: sum("hits"), misses: sum("misses"), latency: merged(same.map((one) => one.latency)) };
}

// --- What an answer adds to the one before: a column of the charts.

const sinceStart = (snapshot) => new Map(snapshot.periods[0].ports.map((port) => [port.port, port]));

function column(before, after) {
  const [old, ports] = [sinceStart(before), new Map()];
  for (const [number, port] of sinceStart(after)) {
    const was = old.get(number);
    const places = new Map(was ? was.latency.histogram : []);
    const histogram = port.latency.histogram.map(([place, n]) => [place, n - (places.get(place) || 0)]).filter(([, n]) => n > 0);
    const less = (name) => port[name] - (was ? was[name] : 0);
    const max = !was || port.latency.max > was.latency.max ? port.latency.max
      : histogram.length ? Math.min(middle(histogram.at(-1)[0]), port.latency.max) : 0;
    ports.set(number, { histogram, max, sum: 0, failed: less("errors") + less("unanswered"),
      latencies: port.latencies.map((n, row) => n - (was ? was.latencies[row] || 0 : 0)) });
  }
  return { at: Date.now(), ns: after.now_ns - before.now_ns, ports, shown: new Map() };
}

/** A column's figures for the chosen ports; made once. */
function shown(one) {
  if (!one.shown.has(choice.port)) {
    const ports = [...one.ports].filter(([port]) => isChosen(port)).map(([, port]) => port);
    const latencies = now.bounds_ns.concat(0).map((_, row) => total(ports, (port) => port.latencies[row] || 0));
    const all = ports.length ? merged(ports) : { histogram: [], max: 0 };
    one.shown.set(choice.port, { latencies, failed: total(ports, (port) => port.failed), latency: latency(all.histogram, 0, all.max) });
  }
  return one.shown.get(choice.port);
}

function take(snapshot) {
  const before = now;
  now = snapshot;
  if (!before) return;
  // Another run answers now.
  if (snapshot.begun_ns !== before.begun_ns && before.begun_ns !== 0 || snapshot.uptime_ns < before.uptime_ns) {
    columns = [];
    losses = [];
    return;
  }
  if (before.ended) return;
  const apart = (snapshot.made_ns - before.made_ns) / 1e6;
  columns.push(apart > LONG ? null : column(before, snapshot));
  columns = columns.slice(-REMEMBERED);
  const lost = new Map(before.stages.map((stage) => [stage.name, stage.lost]));
  for (const { name, lost: count } of snapshot.stages) {
    const more = count - (lost.get(name) || 0);
    if (more > 0) losses.push({ at: Date.now(), name, more });
  }
  losses = losses.filter(({ at }) => Date.now() - at < 10 * EVERY);
}

// --- Making the page.

function make(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const kindOf = (element, kind) => { if (element.className !== kind) element.className = kind; };

/** As many children as there are items; what is there already is kept, so that nothing that is selected or focused goes. */
function fill(parent, items, create, change) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, index) => {
    if (!parent.children[index]) parent.append(create(item));
    change(parent.children[index], item);
  });
}

/** Terms with values: [name, text, exact value, class, colour]. */
function facts(list, pairs) {
  fill(list, pairs, fact, (pair, [name, text, exact, kind, color]) => {
    put(pair.firstChild, name);
    put(pair.lastChild, text);
    if (exact !== undefined) pair.lastChild.dataset.v = exact;
    if (color) pair.style.setProperty("--of", `var(${color})`);
    kindOf(pair.lastChild, kind || "");
  });
}

function fact() {
  const pair = make("div");
  pair.append(make("dt"), make("dd"));
  return pair;
}

/** A column of a table: its name, a row's value for sorting, its text, and its class. */
const col = (name, value, text, kind) => ({ name, value, text: text || ((row) => grouped(value(row))), kind: kind || "" });
const quiet = (column) => ({ ...column, isZero: (row) => !column.value(row) });

function table(id, shownColumns, rows) {
  const element = $(id);
  if (!element.tHead) prepare(element, id);
  const sort = choice.sort[id] || {};
  fill(element.tHead.rows[0], shownColumns, (column) => header(id, column), (th, column) => {
    put(th.firstChild, column.name);
    kindOf(th, column.kind);
    if (sort.name === column.name) th.setAttribute("aria-sort", sort.up ? "ascending" : "descending");
    else th.removeAttribute("aria-sort");
  });
  const by = shownColumns.find((column) => column.name === sort.name);
  const sorted = by ? [...rows].sort((a, b) => compare(by.value(a), by.value(b)) * (sort.up ? 1 : -1)) : rows;
  const some = choice.more[id] ? sorted : sorted.slice(0, ROWS);
  fill(element.tBodies[0], some, () => make("tr"), (tr, row) => {
    fill(tr, shownColumns, () => make("td"), (td, column) => {
      put(td, column.text(row));
      td.dataset.v = column.value(row);
      kindOf(td, column.kind + (column.isZero && column.isZero(row) ? " zero" : ""));
    });
  });
  more(element, id, sorted.length);
}

function compare(a, b) { return a < b ? -1 : a > b ? 1 : 0; }

function prepare(element, id) {
  element.createTHead().insertRow();
  element.createTBody();
  element.tHead.addEventListener("click", ({ target }) => {
    const name = target.closest("th")?.firstChild.textContent;
    const sort = choice.sort[id];
    if (name) choice.sort[id] = { name, up: sort?.name === name && !sort.up };
    draw();
  });
  const button = make("button", "", "more");
  button.type = "button";
  button.addEventListener("click", () => { choice.more[id] = !choice.more[id]; draw(); });
  element.after(button, make("p", "none in this span", "none-yet"));
}

function header() {
  const th = make("th");
  th.scope = "col";
  const button = make("button");
  button.type = "button";
  th.append(button);
  return th;
}

function more(element, id, rows) {
  const [button, none] = [element.nextElementSibling, element.nextElementSibling.nextElementSibling];
  element.hidden = none.hidden = false;
  (rows ? none : element).hidden = true;
  button.hidden = rows <= ROWS;
  put(button, choice.more[id] ? `only ${ROWS}` : `all ${rows}`);
}

// --- The parts of the page.

function drawState() {
  const away = failing > 1;
  const state = away ? ["away", "no answer"] : now?.ended ? ["ended", "ended"] : now ? ["live", "live"] : ["wait", "connecting"];
  $("state").dataset.state = state[0];
  put($("state"), state[1]);
  document.body.classList.toggle("stale", away);
  const told = [];
  if (away) told.push(`No answer for ${long((Date.now() - since) * 1e6)}.` + (now ? ` Shown is what was known at ${clock(now.made_ns / 1e6)}.` : ""));
  else if (now?.ended) told.push(`The capture has ended; its last frame is of ${new Date(now.now_ns / 1e6).toLocaleString("sv-SE")}.`);
  const lost = new Map();
  for (const { name, more } of losses) lost.set(name, (lost.get(name) || 0) + more);
  if (lost.size) told.push(`The capture loses data: ${[...lost].map(([name, n]) => `${grouped(n)} at ${name}`).join(", ")} in the last 10 s. What is shown is less than there was.`);
  put($("notice"), told.join(" "));
  kindOf($("notice"), away || lost.size ? "bad" : "");
}

function drawPorts() {
  const ports = now.periods[0].ports.map((port) => String(port.port));
  const options = [["", "all"], ...ports.map((port) => [port, port])];
  if (choice.port && !ports.includes(choice.port)) options.push([choice.port, choice.port]);
  fill($("port"), options, () => make("option"), (option, [value, text]) => { option.value = value; put(option, text); });
  $("port").value = choice.port;
  document.querySelector(`input[value="${choice.span}"]`).checked = true;
}

function drawTiles(all, length) {
  const { latency: l } = all;
  const some = (ns) => (all.requests ? time(ns) : "–");
  const bad = (n) => (n ? "bad" : "");
  facts($("tiles"), [
    ["requests", grouped(all.requests), all.requests], ["a second", rate(all.requests, length), length],
    ["p50", some(l.p50), l.p50], ["p90", some(l.p90), l.p90], ["p99", some(l.p99), l.p99], ["max", some(l.max), l.max],
    now.threshold_ns === null ? ["average", some(l.avg), l.avg] : [`slow, ≥ ${bound(now.threshold_ns)}`, grouped(all.slow), all.slow, bad(all.slow)],
    ["errors", grouped(all.errors), all.errors, bad(all.errors)], ["unanswered", grouped(all.unanswered), all.unanswered, bad(all.unanswered)],
  ]);
}

function drawBuckets(all) {
  const most = Math.max(1, ...all.latencies);
  const rows = all.latencies.map((n, row) => ({ n, row })).reverse();
  fill($("buckets").tBodies[0], rows, bucketRow, (tr, { n, row }) => {
    const bounds = now.bounds_ns;
    const slow = now.threshold_ns !== null && (row ? bounds[row - 1] : 0) >= now.threshold_ns;
    kindOf(tr, (slow ? "slow " : "") + (n ? "" : "none"));
    put(tr.children[0], row < bounds.length ? `≤ ${bound(bounds[row])}` : `> ${bound(bounds.at(-1))}`);
    tr.children[1].firstChild.style.width = n ? `max(1px, ${(100 * n) / most}%)` : "0";
    put(tr.children[2], grouped(n));
    tr.children[2].dataset.v = n;
  });
}

function bucketRow() {
  const tr = make("tr"), th = make("th"), bar = make("td");
  th.scope = "row";
  bar.append(make("i"));
  tr.append(th, bar, make("td"));
  return tr;
}

function drawTables(all, length, of) {
  const mixed = new Set(all.commands.map((one) => one.protocol)).size > 1;
  const looks = all.commands.some((one) => one.hits + one.misses);
  const ns = (name, get, kind) => col(name, get, (row) => (row.latency && !row.latency.count ? "–" : time(get(row))), kind);
  table("commands", [
    col("command", (c) => c.command, (c) => c.command, "text wrap"),
    ...(mixed ? [col("protocol", (c) => c.protocol, (c) => c.protocol, "text wide")] : []),
    col("requests", (c) => c.requests),
    col("a second", (c) => c.requests, (c) => rate(c.requests, length), "wide"),
    ns("p50", (c) => c.latency.p50), ns("p90", (c) => c.latency.p90, "wide"), ns("p99", (c) => c.latency.p99), ns("max", (c) => c.latency.max),
    col("of all time", (c) => c.latency.sum, (c) => part(c.latency.sum, all.latency.sum), "wide"),
    quiet(col("errors", (c) => c.errors)), quiet(col("unanswered", (c) => c.unanswered, undefined, "wide")),
    ...(looks ? [col("hits", (c) => c.hits / (c.hits + c.misses || 1), (c) => part(c.hits, c.hits + c.misses), "wide")] : []),
  ], all.commands.sort((a, b) => b.requests - a.requests || compare(a.command, b.command)));
  drawSlowest(of.slowest.filter((one) => isChosen(portOf(one.server))));
  const other = of.other_clients.requests + of.other_clients.unanswered > 0 ? [{ ...of.other_clients, address: "others" }] : [];
  table("clients", [
    col("client", (c) => c.address, (c) => c.address, "text wrap"), col("requests", (c) => c.requests),
    col("a second", (c) => c.requests, (c) => rate(c.requests, length), "wide"),
    ns("average", (c) => (c.requests ? c.latency_sum_ns / c.requests : 0)), ns("max", (c) => c.latency_max_ns),
    quiet(col("errors", (c) => c.errors)), quiet(col("unanswered", (c) => c.unanswered, undefined, "wide")),
    col("sent", (c) => c.request_bytes, (c) => bytes(c.request_bytes), "wide"), col("received", (c) => c.response_bytes, (c) => bytes(c.response_bytes), "wide"),
  ], [...of.clients, ...other]);
  put($("clients-of"), choice.port ? "of all ports" : "");
  drawKeys(of);
}

const portOf = (address) => address.slice(address.lastIndexOf(":") + 1);

function drawSlowest(rows) {
  const keys = rows.some((one) => one.key !== null);
  table("slowest", [
    col("latency", (s) => s.latency_ns, (s) => time(s.latency_ns)),
    col("waited", (s) => s.wait_ns, (s) => (s.wait_ns ? time(s.wait_ns) : "–"), "wide"),
    col("command", (s) => s.command, (s) => s.command, "text wrap"),
    ...(keys ? [col("key", (s) => s.key || "", (s) => s.key || "", "text wrap")] : []),
    col("answer", (s) => s.status || "", (s) => s.status || "ok", "text wide"),
    col("client", (s) => s.client, (s) => s.client, "text wide"), col("server", (s) => s.server, (s) => s.server, "text wide"),
    col("asked", (s) => s.request_bytes, (s) => bytes(s.request_bytes), "wide"), col("answered", (s) => s.response_bytes, (s) => bytes(s.response_bytes), "wide"),
    col("at", (s) => s.time_ns, (s) => clock(s.time_ns / 1e6, 3)),
  ], rows);
}

function drawKeys(of) {
  $("keys").hidden = now.keys === "none";
  const port = col("port", (k) => k.port, (k) => String(k.port));
  const key = col("key", (k) => k.key, (k) => k.key, "text wrap");
  const chosen = (list) => list.filter((one) => isChosen(one.port));
  table("hot", [key, port, col("requests", (k) => k.requests, (k) => (k.error ? "≥ " : "") + grouped(k.requests))], chosen(of.hot_keys));
  table("big", [key, port, col("command", (k) => k.command, (k) => k.command, "text"), col("largest", (k) => k.bytes, (k) => bytes(k.bytes))], chosen(of.big_keys));
}

function drawFacts(all, of) {
  const count = (name, n, bad) => [name, grouped(n), n, n ? bad || "" : "zero"];
  facts($("answers"), [
    count("errors", all.errors, "bad"), count("unanswered", all.unanswered, "bad"), count("late", all.late), count("blocking by design", all.blocking),
    count("one-way messages", all.one_way), count("found again after a gap", all.resynced), count("ambiguous, not timed", all.ambiguous), count("answers without request", all.orphans),
    ["bytes to servers", bytes(all.in_bytes), all.in_bytes], ["bytes from servers", bytes(all.out_bytes), all.out_bytes],
  ]);
  table("statuses", [col("status", (s) => s.status, (s) => s.status, "text wrap"), col("protocol", (s) => s.protocol, (s) => s.protocol, "text"), col("count", (s) => s.count)],
    all.statuses.sort((a, b) => b.count - a.count));
  const { tcp } = all, shake = (ns) => (tcp.handshake.count ? time(ns) : "–");
  facts($("tcp"), [
    count("open connections", tcp.open), count("opened", tcp.opened), count("closed", tcp.closed), count("reset", tcp.resets), count("SYN sent again", tcp.syn_retries),
    count("retransmissions", tcp.retransmissions), count("out of order", tcp.out_of_order), count("zero windows", tcp.zero_windows),
    ["handshake p50", shake(tcp.handshake.p50), tcp.handshake.p50], ["handshake p99", shake(tcp.handshake.p99), tcp.handshake.p99], ["handshake max", shake(tcp.handshake.max), tcp.handshake.max],
  ]);
  table("stages", [col("stage, since the start", (s) => s.name, (s) => s.name, "text wrap"), col("passed", (s) => s.passed), quiet(col("lost", (s) => s.lost))], now.stages);
  const a = of.coverage, ring = now.rings.reduce((most, one) => (most && most.highest_fill_bytes >= one.highest_fill_bytes ? most : one), null);
  facts($("account"), [
    ...(ring ? [[`fullest ring of ${bytes(ring.size_bytes)}, at most`, bytes(ring.highest_fill_bytes), ring.highest_fill_bytes]] : []),
    count("frames seen", a.frames), count("of monitored conversations", a.matched), count("dropped by the capture", a.dropped, "bad"), count("gaps", a.gaps, "bad"), ["bytes in gaps", bytes(a.gap_bytes), a.gap_bytes, a.gap_bytes ? "bad" : "zero"],
    count("duplicate frames", a.duplicates), count("conversations", a.conversations), count("joined in the middle", a.joined), count("opaque (TLS and the like)", a.opaque),
    count("not recognised", a.unrecognised), count("malformed messages", a.malformed), count("forgotten for room", a.evicted + a.overflowed),
  ]);
}

// --- Charts: one column an answer, the newest at the right edge.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function canvas(id) {
  const element = $(id), scale = devicePixelRatio || 1;
  const [width, height] = [element.clientWidth, element.clientHeight];
  if (element.width !== Math.round(width * scale) || element.height !== Math.round(height * scale)) {
    element.width = Math.round(width * scale);
    element.height = Math.round(height * scale);
  }
  const pen = element.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  return { pen, width, height, wide: Math.max(width / REMEMBERED, 3) };
}

/** Calls with each column that is in sight and its left edge. */
function each({ width, wide }, act) {
  for (let back = 1; back <= columns.length && back * wide <= width; back++) {
    const one = columns[columns.length - back];
    act(one && shown(one), width - back * wide, one);
  }
}

function drawHeat() {
  const chart = canvas("heat"), { pen, width, height, wide } = chart;
  const rows = now.bounds_ns.length + 1, tall = height / rows;
  pen.fillStyle = css("--shade");
  for (let row = 0; row < rows; row++) pen.fillRect(0, row * tall, width, tall - 1);
  let most = 1;
  each(chart, (one) => { if (one) most = Math.max(most, ...one.latencies); });
  const low = css("--low").split(" ").map(Number), high = css("--high").split(" ").map(Number);
  each(chart, (one, x) => {
    if (one) one.latencies.forEach((n, row) => {
      if (!n) return;
      const deep = most > 1 ? Math.log(n) / Math.log(most) : 1;
      pen.fillStyle = `rgb(${low.map((from, i) => Math.round(from + (high[i] - from) * deep)).join(" ")})`;
      pen.fillRect(x, height - (row + 1) * tall, wide - (wide > 3 ? 0.5 : 0), tall - 1);
    });
  });
  if (!columns.some((one) => one)) {
    pen.fillStyle = css("--soft");
    pen.textAlign = "center";
    pen.fillText(now.ended ? "nothing more is counted" : "columns appear as the capture goes on", width / 2, height / 2 + 4);
    pen.textAlign = "left";
  }
  $("heat").setAttribute("aria-label", `Requests by latency, one column a second, darkest is ${grouped(most)}; the figures of the span are in the table beside it`);
}

function drawQuantiles() {
  const chart = canvas("quantiles"), { pen, width, height, wide } = chart;
  let least = Infinity, largest = 0;
  each(chart, (one) => { if (one?.latency.count) { least = Math.min(least, one.latency.p50); largest = Math.max(largest, one.latency.max); } });
  if (largest === 0) [least, largest] = [1e5, 1e7];
  const [bottom, top] = [Math.log10(Math.max(least, 1000)) - 0.15, Math.log10(Math.max(largest, 2000)) + 0.15];
  const y = (ns) => height - 1 - ((Math.log10(Math.max(ns, 1)) - bottom) / (top - bottom)) * (height - 2);
  for (let ten = Math.ceil(bottom); ten <= top; ten++) line(chart, y(10 ** ten), bound(10 ** ten));
  QUANTILES.forEach((name, index) => {
    pen.strokeStyle = css(ofQuantile[index]);
    pen.lineWidth = name === "p99" ? 2 : 1.25;
    pen.beginPath();
    let joined = false;
    each(chart, (one, x) => {
      if (one?.latency.count) {
        const [px, py] = [x + wide / 2, y(one.latency[name])];
        if (joined) pen.lineTo(px, py); else { pen.moveTo(px, py); pen.lineTo(px - 1, py); }
      }
      joined = Boolean(one?.latency.count);
    });
    pen.stroke();
  });
  const last = columns.at(-1) && shown(columns.at(-1));
  key("quantile-key", QUANTILES.map((name, index) => [name, last?.latency.count ? time(last.latency[name]) : "–", ofQuantile[index]]));
  $("quantiles").setAttribute("aria-label", "Quantiles of latency, one point a second, on a logarithmic scale");
}

const ofQuantile = ["--good", "--accent", "--warn", "--bad"];

function drawRate() {
  const chart = canvas("rate"), { pen, height, wide } = chart;
  const perSecond = (n, one) => (one.ns > 0 ? n / (one.ns / 1e9) : 0);
  let most = 1;
  each(chart, (shown, _, one) => { if (one) most = Math.max(most, perSecond(shown.latency.count, one)); });
  const ten = 10 ** Math.floor(Math.log10(most)), mark = Math.floor(most / ten) * ten;
  const tall = (n, one) => (perSecond(n, one) / (most * 1.35)) * (height - 14);
  each(chart, (shown, x, one) => {
    if (!one) return;
    pen.fillStyle = css("--accent");
    pen.fillRect(x, height - 14 - tall(shown.latency.count, one), wide - 0.5, tall(shown.latency.count, one));
    pen.fillStyle = css("--bad");
    pen.fillRect(x, height - 14 - tall(shown.failed, one), wide - 0.5, tall(shown.failed, one));
  });
  line(chart, height - 14 - (mark / (most * 1.35)) * (height - 14), `${grouped(mark)}/s`);
  times(chart);
  const last = columns.at(-1), sums = last && shown(last);
  key("rate-key", [["rate", last ? rate(sums.latency.count, last.ns) : "–", "--accent"], ["failed", last ? rate(sums.failed, last.ns) : "–", "--bad"]]);
  $("rate").setAttribute("aria-label", "Requests a second, and of them errors and unanswered ones");
}

function line({ pen, width }, y, text) {
  pen.fillStyle = css("--line");
  pen.fillRect(0, Math.round(y), width, 1);
  pen.fillStyle = css("--soft");
  pen.fillText(text, 0, Math.round(y) - 3);
}

function times(chart) {
  const { pen, width, height, wide } = chart;
  const apart = Math.ceil(90 / wide / 10) * 10;
  pen.fillStyle = css("--line");
  pen.fillRect(0, height - 14, width, 1);
  pen.fillStyle = css("--soft");
  pen.textAlign = "right";
  let place = 0;
  each(chart, (_, x, one) => { if (place++ % apart === 0 && one && x > 50) pen.fillText(clock(one.at), x + wide, height - 2); });
  pen.textAlign = "left";
}

function key(id, rows) {
  facts($(id), rows.map(([name, text, color]) => [name, text, undefined, "", color]));
}

/** What the pointer is on. */
function read(event) {
  const element = $("heat"), box = element.getBoundingClientRect();
  const wide = Math.max(box.width / REMEMBERED, 3), rows = now.bounds_ns.length + 1;
  const one = columns[columns.length - 1 - Math.floor((box.right - event.clientX) / wide)];
  const row = rows - 1 - Math.floor(((event.clientY - box.top) / box.height) * rows);
  if (!one || row < 0 || row >= rows) return put($("readout"), "");
  const from = row ? bound(now.bounds_ns[row - 1]) : "0", to = row < rows - 1 ? ` to ${bound(now.bounds_ns[row])}` : " and more";
  put($("readout"), `${clock(one.at)}, ${from}${to}: ${grouped(shown(one).latencies[row])} requests`);
}

// --- The whole.

function draw() {
  drawState();
  if (!now) return;
  document.querySelector("main").hidden = false;
  if (!choice.span) choice.span = now.ended ? "start" : "1m";
  const of = period(), all = figures(of.ports.filter((port) => isChosen(port.port)));
  drawPorts();
  drawTiles(all, of.length_ns);
  drawBuckets(all);
  drawHeat();
  drawQuantiles();
  drawRate();
  drawTables(all, of.length_ns, of);
  drawFacts(all, of);
  put($("build"), `${now.build.name} ${now.build.version} at ${location.host}, up ${long(now.uptime_ns)}.`);
  document.title = `${location.host} · tcpkit`;
}

let timer = 0, asking = false;

async function ask() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  try {
    const answer = await fetch("api/v1/snapshot", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(answer.statusText);
    take(await answer.json());
    failing = 0;
  } catch {
    if (!failing) since = Date.now();
    failing++;
  }
  asking = false;
  draw();
  // Who is silent for a moment after connecting is told the classic form, and no HTTP: that happens to browsers.
  timer = setTimeout(ask, failing === 1 ? EVERY / 10 : EVERY);
}

function chosen() {
  const asked = new URLSearchParams(location.hash.slice(1));
  choice.port = asked.get("port") || "";
  const span = asked.get("span");
  if (["start", "10s", "1m", "5m"].includes(span)) choice.span = span;
}

function choose() {
  choice.port = $("port").value;
  choice.span = document.querySelector("input[name=span]:checked")?.value || choice.span;
  history.replaceState(null, "", "#" + new URLSearchParams({ port: choice.port, span: choice.span }));
  draw();
}

$("choice").addEventListener("change", choose);
$("choice").addEventListener("submit", (event) => event.preventDefault());
$("heat").addEventListener("pointermove", (event) => now && read(event));
$("heat").addEventListener("pointerleave", () => put($("readout"), ""));
addEventListener("hashchange", () => { chosen(); draw(); });
addEventListener("resize", draw);
document.addEventListener("visibilitychange", ask);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
chosen();
ask();
