"use strict";
// The map of a report. Everything shown is text: nothing from the corpus is read as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const canvas = get("map"), stage = get("stage"), tip = get("tip"), ring = get("ring");
const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const count = data.texts.length, PAGE = 40, NOISE = -1, MOVE_MS = 700;

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}
for (const view of data.views) {
  view.x = Float32Array.from(new Uint16Array(bytes(view.x)), (value) => value / 65535);
  view.y = Float32Array.from(new Uint16Array(bytes(view.y)), (value) => value / 65535);
  view.labels = new Int16Array(bytes(view.labels));
}

// What is looked at. `chosen` maps a view to the cluster that documents must be in.
const state = { view: 0, colour: 0, chosen: new Map(), query: "", focus: -1, shown: PAGE };
const camera = { scale: 1, x: 0.5, y: 0.5 };
const x = Float32Array.from(data.views[0].x), y = Float32Array.from(data.views[0].y);
const visible = new Uint8Array(count).fill(1);
let lower = null, width = 0, height = 0, ratio = 1, moving = 0, queued = false;

function make(tag, content, properties) {
  const element = document.createElement(tag);
  if (content !== undefined) element.textContent = content;
  return Object.assign(element, properties);
}
const colourOf = (label) => (label === NOISE ? data.noise : data.palette[label % data.palette.length]);
const css = (rgb) => `rgb(${rgb.join(",")})`;
const number = (value) => value.toLocaleString("en");
const nameOf = (view, label) => (label === NOISE ? "noise" : data.views[view].clusters[label].name);
const sizeOf = () => Math.min(width, height) * 0.88 * camera.scale;
const screenX = (place) => width / 2 + (place - camera.x) * sizeOf();
const screenY = (place) => height / 2 + (camera.y - place) * sizeOf();
const radius = () => Math.min(9, Math.max(1.1, 26 / Math.pow(count, 0.27)) * Math.pow(camera.scale, 0.35));

// Drawing: discs are blended into the pixels, which takes 100,000 of them at every frame.
function stamp(size) {
  const reach = Math.ceil(size), cells = [];
  for (let row = -reach; row <= reach; row++)
    for (let column = -reach; column <= reach; column++) {
      const cover = Math.min(1, Math.max(0, size + 0.5 - Math.hypot(row, column)));
      if (cover > 0) cells.push([column, row, cover]);
    }
  return cells;
}
function draw() {
  queued = false;
  const style = getComputedStyle(document.documentElement);
  const paper = style.getPropertyValue("--paper").trim(), ink = style.getPropertyValue("--ink").trim();
  context.fillStyle = paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  const image = context.getImageData(0, 0, canvas.width, canvas.height), pixels = image.data;
  const cells = stamp(radius() * ratio), labels = data.views[state.colour].labels;
  const all = !isFiltered();
  for (const pass of all ? [1] : [0, 1])
    for (let k = 0; k < count; k++) {
      if (visible[k] !== pass) continue;
      const left = Math.round(screenX(x[k]) * ratio), top = Math.round(screenY(y[k]) * ratio);
      if (left < -20 || top < -20 || left > canvas.width + 20 || top > canvas.height + 20) continue;
      const rgb = pass ? colourOf(labels[k]) : data.noise;
      const strength = pass ? (count > 20000 ? 0.6 : 0.82) : dark.matches ? 0.16 : 0.2;
      for (const [column, row, cover] of cells) {
        const across = left + column, down = top + row;
        if (across < 0 || down < 0 || across >= canvas.width || down >= canvas.height) continue;
        const at = (down * canvas.width + across) * 4, share = cover * strength;
        pixels[at] += (rgb[0] - pixels[at]) * share;
        pixels[at + 1] += (rgb[1] - pixels[at + 1]) * share;
        pixels[at + 2] += (rgb[2] - pixels[at + 2]) * share;
      }
    }
  context.putImageData(image, 0, 0);
  if (!moving) drawNames(paper, ink);
  placeRing();
}
function median(values) {
  values.sort((one, other) => one - other);
  return values[values.length >> 1];
}
// Names stand where the middle of their documents is, the largest first; none covers another.
function drawNames(paper, ink) {
  const view = data.views[state.colour], places = view.clusters.map(() => [[], []]);
  const step = Math.max(1, Math.floor(count / 20000));
  for (let k = 0; k < count; k += step) {
    if (!visible[k] || view.labels[k] === NOISE) continue;
    places[view.labels[k]][0].push(x[k]);
    places[view.labels[k]][1].push(y[k]);
  }
  context.save();
  context.scale(ratio, ratio);
  context.font = `600 ${width < 560 ? 12 : 14}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  places.forEach(([across, down], label) => {
    if (!across.length) return;
    const name = view.clusters[label].name, wide = context.measureText(name).width / 2 + 6;
    const middle = screenX(median(across)), top = screenY(median(down));
    if (middle < 0 || top < 0 || middle > width || top > height) return;
    const left = Math.min(Math.max(middle, wide), width - wide);
    for (const shift of [0, -20, 20, -40, 40]) {
      const box = [left - wide, top + shift - 10, left + wide, top + shift + 10];
      if (taken.some((b) => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3])) continue;
      taken.push(box);
      context.lineWidth = 5;
      context.strokeStyle = paper;
      context.globalAlpha = 0.85;
      context.strokeText(name, left, top + shift);
      context.globalAlpha = 1;
      context.fillStyle = ink;
      context.fillText(name, left, top + shift);
      break;
    }
  });
  context.restore();
}
function redraw() {
  if (!queued) requestAnimationFrame(draw);
  queued = true;
}
function placeRing() {
  ring.hidden = state.focus < 0;
  if (ring.hidden) return;
  ring.style.transform = `translate(${screenX(x[state.focus])}px, ${screenY(y[state.focus])}px)`;
}
function resize() {
  ratio = Math.min(2, devicePixelRatio || 1);
  width = stage.clientWidth;
  height = stage.clientHeight;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  redraw();
}

// Switching views moves every point from its place on one map to its place on the other.
function showView(index) {
  state.view = state.colour = index;
  tip.hidden = true;
  const from = [Float32Array.from(x), Float32Array.from(y)], to = data.views[index];
  const started = performance.now(), turn = ++moving;
  const length = still.matches ? 0 : MOVE_MS;
  (function step() {
    if (turn !== moving) return;
    const passed = length ? Math.min(1, (performance.now() - started) / length) : 1;
    const eased = passed * passed * (3 - 2 * passed);
    for (let k = 0; k < count; k++) {
      x[k] = from[0][k] + (to.x[k] - from[0][k]) * eased;
      y[k] = from[1][k] + (to.y[k] - from[1][k]) * eased;
    }
    if (passed === 1) {
      moving = 0;
      redraw();
    } else {
      draw();
      requestAnimationFrame(step);
    }
  })();
  refresh();
}

// Filters: the chosen clusters, and the words looked for.
const isFiltered = () => state.chosen.size > 0 || state.query !== "";
function texts() {
  lower ??= data.texts.map((text, k) => [text, data.ids[k], ...data.views.map((v) => wordsOf(v, k))].join("\n").toLowerCase());
  return lower;
}
const wordsOf = (view, k) => view.words[k].map((word) => data.vocabulary[word]).join(", ");
function filter() {
  const wanted = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const searched = wanted.length ? texts() : null;
  for (let k = 0; k < count; k++) {
    let fits = 1;
    for (const [view, label] of state.chosen) if (data.views[view].labels[k] !== label) fits = 0;
    if (fits && searched && !wanted.every((word) => searched[k].includes(word))) fits = 0;
    visible[k] = fits;
  }
  state.shown = PAGE;
}
function refresh() {
  filter();
  if (state.focus >= 0 && !visible[state.focus]) state.focus = -1;
  const view = data.views[state.view];
  get("question").textContent = view.question ?? "No question: the whole text.";
  canvas.setAttribute("aria-label", `Map of ${number(count)} documents in the view ${view.name}`);
  for (const name of ["views", "colours"])
    get(name).querySelectorAll("input").forEach((input, k) => {
      input.checked = k === (name === "views" ? state.view : state.colour);
    });
  showClusters();
  showCross();
  showDocuments();
  const found = visible.reduce((sum, one) => sum + one, 0);
  const part = data.total > count ? ` drawn of ${number(data.total)}` : "";
  get("count").textContent = isFiltered() ? `${number(found)} of ${number(count)} documents` : `${number(count)} documents${part}`;
  get("clear").hidden = !isFiltered();
  redraw();
}
function choose(pairs) {
  const same = pairs.length === state.chosen.size && pairs.every(([v, label]) => state.chosen.get(v) === label);
  state.chosen = new Map(same ? [] : pairs);
  refresh();
}
// What was rebuilt is focused again by its place, for those who use a keyboard.
function rebuilt(element, build) {
  const buttons = () => [...element.querySelectorAll("button")];
  const place = buttons().indexOf(document.activeElement);
  element.replaceChildren();
  build();
  if (place >= 0) buttons()[place]?.focus({ preventScroll: true });
}
function showClusters() {
  const view = data.views[state.colour], largest = Math.max(1, ...view.clusters.map((c) => c.size), view.noise);
  get("clusters-head").textContent = `Clusters of ${view.name}`;
  rebuilt(get("clusters"), () => {
    const rows = view.clusters.map((c) => [c.id, c.name, c.size, c.more]);
    if (view.noise) rows.push([NOISE, "noise", view.noise, "in no cluster"]);
    for (const [label, name, size, more] of rows) {
      const button = make("button", undefined, { type: "button", className: "cluster" });
      button.dataset.cluster = label;
      button.setAttribute("aria-pressed", String(state.chosen.get(state.colour) === label));
      const dot = make("i"), bar = make("u"), fill = make("b");
      dot.style.background = fill.style.background = css(colourOf(label));
      fill.style.width = `${(100 * size) / largest}%`;
      bar.append(fill);
      button.append(dot, make("span", name), make("span", number(size), { className: "soft" }), bar);
      if (more) button.append(make("small", more));
      button.onclick = () => choose([[state.colour, label]]);
      const item = make("li");
      item.append(button);
      get("clusters").append(item);
    }
  });
}
function showCross() {
  // The view on the map against the one it is coloured by, or else against the next.
  const other = state.colour !== state.view ? state.colour : (state.view + 1) % data.views.length;
  get("cross").hidden = other === state.view;
  if (other === state.view) return;
  const [rows, columns] = [Math.min(state.view, other), Math.max(state.view, other)];
  const table = data.crosses.find((one) => one.a === rows && one.b === columns);
  get("cross-head").textContent = `${data.views[rows].name} by ${data.views[columns].name}`;
  rebuilt(get("table"), () => {
    const head = make("tr");
    head.append(make("td"), ...table.columns.map((label) => make("th", nameOf(columns, label), { scope: "col" })));
    get("table").append(head);
    table.counts.forEach((cells, row) => {
      const line = make("tr");
      line.append(make("th", nameOf(rows, table.rows[row]), { scope: "row" }));
      cells.forEach((value, column) => {
        const pair = [[rows, table.rows[row]], [columns, table.columns[column]]];
        const button = make("button", number(value), { type: "button" });
        const deviation = table.deviations[row][column], strength = Math.min(0.65, Math.max(0, Math.abs(deviation) - 1) / 12);
        button.style.background = `rgba(var(--${deviation > 0 ? "more" : "less"}), ${strength})`;
        button.append(make("small", `\u00d7 ${table.times[row][column].toFixed(1)}`));
        button.title = `${nameOf(...pair[0])} and ${nameOf(...pair[1])}: ${value}`;
        button.setAttribute("aria-pressed", String(state.chosen.size === 2 && pair.every(([v, label]) => state.chosen.get(v) === label)));
        button.onclick = () => choose(pair);
        const cell = make("td");
        cell.append(button);
        line.append(cell);
      });
      get("table").append(line);
    });
  });
}
function answers(k) {
  return data.views.map((view, index) => {
    const line = make("p", undefined, { className: "answers" });
    const words = wordsOf(view, k);
    line.append(make("b", `${view.name}: `), words || "no words", ` (${nameOf(index, view.labels[k])})`);
    return line;
  });
}
function showDocuments() {
  const list = get("documents");
  rebuilt(list, () => {
    let found = 0;
    for (let k = 0; k < count && found <= state.shown; k++) {
      if (!visible[k] || ++found > state.shown) continue;
      const button = make("button", undefined, { type: "button", className: "document" });
      button.append(make("p", data.texts[k] || "(no text)"), ...answers(k));
      button.onfocus = button.onmouseenter = () => focusOn(k);
      button.onclick = () => { focusOn(k); if (innerWidth <= 760) stage.scrollIntoView({ block: "start" }); };
      const item = make("li");
      item.append(button);
      list.append(item);
    }
    get("more").hidden = found <= state.shown;
    if (!found) list.append(make("li", "Nothing fits.", { className: "soft" }));
  });
}
function focusOn(k) {
  state.focus = k;
  placeRing();
}

// The pointer: the nearest document that is shown, and its text.
function nearest(left, top) {
  let best = -1, least = Math.pow(Math.max(12, radius() + 6), 2);
  for (let k = 0; k < count; k++) {
    if (!visible[k]) continue;
    const far = (screenX(x[k]) - left) ** 2 + (screenY(y[k]) - top) ** 2;
    if (far < least) [best, least] = [k, far];
  }
  return best;
}
function showTip(k) {
  focusOn(k);
  tip.hidden = k < 0;
  if (k < 0) return;
  const text = data.texts[k] || "(no text)";
  tip.replaceChildren(make("p", text.length > 420 ? `${text.slice(0, 420)}\u2026` : text), ...answers(k));
  const left = screenX(x[k]), top = screenY(y[k]), box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(Math.max(12, left + 16), Math.max(12, width - box.width - 12))}px`;
  const above = top + 16 + box.height > height;
  tip.style.top = `${Math.max(8, above ? top - box.height - 16 : top + 16)}px`;
}
function zoom(factor, left = width / 2, top = height / 2) {
  const scale = Math.min(60, Math.max(0.8, camera.scale * factor)), size = sizeOf();
  const atX = camera.x + (left - width / 2) / size, atY = camera.y - (top - height / 2) / size;
  camera.scale = scale;
  camera.x = atX - (left - width / 2) / sizeOf();
  camera.y = atY + (top - height / 2) / sizeOf();
  tip.hidden = true;
  redraw();
}
function pan(across, down) {
  camera.x -= across / sizeOf();
  camera.y += down / sizeOf();
  tip.hidden = true;
  redraw();
}
function whole() {
  Object.assign(camera, { scale: 1, x: 0.5, y: 0.5 });
  redraw();
}
function clear() {
  state.chosen.clear();
  state.query = get("search").value = "";
  state.focus = -1;
  tip.hidden = true;
  refresh();
}
const pointers = new Map();
let travelled = 0;
canvas.onpointerdown = (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  travelled = 0;
};
canvas.onpointermove = (event) => {
  const before = pointers.get(event.pointerId), here = [event.offsetX, event.offsetY];
  if (!before) {
    if (!moving) showTip(nearest(...here));
    return;
  }
  const others = [...pointers].filter(([id]) => id !== event.pointerId);
  if (others.length) {
    const far = ([a, b]) => Math.hypot(a - others[0][1][0], b - others[0][1][1]);
    zoom(far(here) / Math.max(1, far(before)), (here[0] + others[0][1][0]) / 2, (here[1] + others[0][1][1]) / 2);
  } else pan(here[0] - before[0], here[1] - before[1]);
  travelled += Math.hypot(here[0] - before[0], here[1] - before[1]);
  pointers.set(event.pointerId, here);
};
canvas.onpointerup = canvas.onpointercancel = (event) => {
  pointers.delete(event.pointerId);
  if (travelled < 6) showTip(nearest(event.offsetX, event.offsetY));
};
canvas.onpointerleave = () => { if (!pointers.size) tip.hidden = true; };
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
}, { passive: false });
canvas.ondblclick = (event) => zoom(1.8, event.offsetX, event.offsetY);
canvas.onkeydown = (event) => {
  const keys = {
    ArrowLeft: () => pan(50, 0), ArrowRight: () => pan(-50, 0), ArrowUp: () => pan(0, 50), ArrowDown: () => pan(0, -50),
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), "0": whole,
  };
  if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key]();
};
document.addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
get("in").onclick = () => zoom(1.5);
get("out").onclick = () => zoom(1 / 1.5);
get("whole").onclick = whole;
get("clear").onclick = clear;
get("more").onclick = () => { state.shown += PAGE; showDocuments(); };
let typing = 0;
get("search").oninput = (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { state.query = event.target.value.trim(); refresh(); }, 120);
};
for (const [name, pick] of [["views", showView], ["colours", (k) => { state.colour = k; refresh(); }]])
  data.views.forEach((view, k) => {
    const label = make("label"), input = make("input", undefined, { type: "radio", name, value: k });
    input.onchange = () => pick(k);
    label.append(input, make("span", view.name));
    get(name).append(label);
  });
get("views").hidden = get("colouring").hidden = data.views.length < 2;
dark.onchange = redraw;
new ResizeObserver(resize).observe(stage);
refresh();
