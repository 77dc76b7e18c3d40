"use strict";

// What the program has written into the page.
const facts = JSON.parse(document.getElementById("facts").textContent);
const sizes = facts.sizes.map((text) => ({ text, sides: text.split("x").map(Number) }));
const pictures = facts.pictures.map((picture, index) => ({ ...picture, index, wish: facts.wishes[picture.name] }));

const byId = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
const round = (value) => Math.round(value * 100) / 100;
const shape = (sides) => sides[0] / sides[1];

// ---- What is shown of a picture, and what the user has changed ----------------------------------------------

/** Changes by picture name: { box, size, skip } or { automatic: true }. Kept by the browser until downloaded. */
const changes = new Map();
const memory = `sargent-review ${facts.folder} ${hash(JSON.stringify([facts.pictures, facts.wishes]))}`;

function hash(text) {
  let value = 7;
  for (let at = 0; at < text.length; at++) value = (value * 31 + text.charCodeAt(at)) | 0;
  return value;
}

function remember() {
  try {
    localStorage.setItem(memory, JSON.stringify([...changes]));
  } catch { /* A browser that keeps nothing still lets the file be downloaded. */ }
}

function recall() {
  try {
    for (const [name, change] of JSON.parse(localStorage.getItem(memory) ?? "[]")) changes.set(name, change);
  } catch { /* Nothing was kept. */ }
}

/** As the last run made it. */
const made = (picture) => ({ box: picture.box, size: picture.size, skip: picture.state === "excluded" });
/** As it would be made with the changes. */
const current = (picture) => ({ ...made(picture), ...changes.get(picture.name) });

function change(picture, part) {
  const next = { ...changes.get(picture.name), ...part };
  delete next.automatic;
  const before = made(picture);
  if (Object.keys(next).every((key) => String(next[key]) === String(before[key]))) changes.delete(picture.name);
  else changes.set(picture.name, next);
  remember();
}

const scaleOf = ({ box, size }) => (box ? size[0] / box[2] : null);

/** The wishes of overrides.json and the changes, in the form that the program reads. */
function overrides() {
  const wishes = { ...facts.wishes };
  for (const [name, { box, size, skip, automatic }] of changes) {
    const picture = pictures.find((one) => one.name === name);
    if (!picture) continue;
    const before = made(picture);
    const wish = automatic ? {} : { ...wishes[name] };
    if (box || size) {
      delete wish.focus;
      wish.window = (box ?? before.box).map(round);
      wish.size = (size ?? before.size).join("x");
    }
    if (skip !== undefined) delete wish.skip;
    if (skip) wish.skip = true;
    if (Object.keys(wish).length) wishes[name] = wish;
    else delete wishes[name];
  }
  return { pictures: wishes };
}

// ---- Geometry, in pixels of the upright picture --------------------------------------------------------------

/** The largest window of a shape. */
function largest(picture, sides) {
  const [width, height] = picture.picture;
  return width / height > shape(sides) ? [height * shape(sides), height] : [width, width / shape(sides)];
}

/** The window of `width` with the shape of `sides` about a middle, kept inside and within the limit. */
function windowAbout(picture, sides, width, [x, y]) {
  const most = largest(picture, sides)[0];
  const across = clamp(width, Math.min(sides[0] / facts.limit, most), most);
  const down = across / shape(sides);
  const [wide, high] = picture.picture;
  return [clamp(x - across / 2, 0, wide - across), clamp(y - down / 2, 0, high - down), across, down];
}

const middle = ([x, y, width, height]) => [x + width / 2, y + height / 2];

function move(picture, across, down) {
  const { box, size } = current(picture);
  if (!box) return;
  const [x, y] = middle(box);
  change(picture, { box: windowAbout(picture, size, box[2], [x + across, y + down]) });
}

function zoom(picture, factor) {
  const { box, size } = current(picture);
  if (box) change(picture, { box: windowAbout(picture, size, box[2] * factor, middle(box)) });
}

function resize(picture, size) {
  const { box, size: old } = current(picture);
  if (!box) return;
  const share = box[2] / largest(picture, old)[0];
  const width = largest(picture, size)[0] * share;
  change(picture, { size, box: windowAbout(picture, size, width, middle(box)) });
}

// ---- Filters and order ---------------------------------------------------------------------------------------

const KINDS = {
  focus_cut: "Focus cut", heads_cut: "Heads cut", enlarged: "Enlarged", nothing_found: "Nothing found",
  uncertain_face: "Perhaps no face", face_passed_over: "Perhaps a face missed", small_face: "Small face",
  diffuse: "Nothing stands out", at_edge: "Focus at edge", near_duplicate: "Near-duplicates",
};
const filters = [
  { id: "all", name: "All", holds: () => true },
  { id: "doubtful", name: "Any doubt", holds: (picture) => picture.doubts.length > 0 },
  ...[...new Set(pictures.flatMap((picture) => picture.doubts.map((doubt) => doubt.kind)))].map((kind) => ({
    id: kind,
    name: KINDS[kind] ?? kind.replaceAll("_", " "),
    holds: (picture) => picture.doubts.some((doubt) => doubt.kind === kind),
  })),
  { id: "refused", name: "Too small", holds: (picture) => picture.state === "refused" },
  { id: "hand", name: "By hand", holds: (picture) => picture.wish !== undefined },
  { id: "excluded", name: "Excluded", holds: (picture) => current(picture).skip },
  { id: "changed", name: "Changed now", holds: (picture) => changes.has(picture.name) },
];
const ORDERS = {
  doubt: (a, b) => b.doubt - a.doubt || a.index - b.index,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
  scale: (a, b) => (scaleOf(b) ?? 99) - (scaleOf(a) ?? 99),
};
const view = { filter: filters[0], search: "", order: "doubt", page: 0 };

function matching() {
  const wanted = view.search.toLowerCase();
  const found = pictures.filter((one) => view.filter.holds(one) && one.name.toLowerCase().includes(wanted));
  found.sort(ORDERS[view.order]);
  // Pictures that look alike stand side by side.
  return view.filter.id === "near_duplicate" ? found.sort((a, b) => (a.like ?? "").localeCompare(b.like ?? "")) : found;
}

function drawFilters() {
  byId("filters").replaceChildren(...filters.flatMap((filter) => {
    const count = pictures.filter(filter.holds).length;
    if (count === 0 && filter.id !== "all" && filter !== view.filter) return [];
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.filter = filter.id;
    button.setAttribute("aria-pressed", filter === view.filter);
    const number = document.createElement("span");
    number.textContent = count;
    button.append(filter.name, number);
    button.addEventListener("click", () => show({ filter, page: 0 }));
    return [button];
  }));
}

// ---- Cards ---------------------------------------------------------------------------------------------------

const blocks = new Map();

/** The small picture as a data address; blocks of them are read when they are first needed. */
function thumbnail(picture) {
  const number = Math.floor(picture.index / facts.block);
  if (!blocks.has(number)) blocks.set(number, byId(`block${number}`).textContent.split("\n"));
  const base64 = blocks.get(number)[picture.index % facts.block];
  return base64 ? `data:image/jpeg;base64,${base64}` : "";
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

const rectangle = ([x, y, width, height]) => ({ x, y, width, height });

function newCard(picture) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const part = (name) => card.querySelector(`.${name}`);
  const [width, height] = picture.picture;
  card.picture = picture;
  card.querySelectorAll(".pixels").forEach((image) => {
    set(image, { href: thumbnail(picture), width, height });
  });
  set(part("original"), { viewBox: `0 0 ${width} ${height}`, "aria-label": `${picture.name} with its crop` });
  set(part("crop"), { "aria-label": `the crop of ${picture.name}` });
  const focus = picture.focus.box;
  if (picture.focus.kind === "centre") {
    part("focus").remove();
    part("focus-point").remove();
  } else {
    set(part("focus"), rectangle(focus));
    const [cx, cy] = middle(focus);
    set(part("focus-point"), { cx, cy });
  }
  part("heads").replaceChildren(...(picture.focus.heads.length > 1 ? picture.focus.heads : []).map((head) => {
    const frame = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    set(frame, rectangle(head));
    return frame;
  }));
  part("name").textContent = picture.name;
  const now = picture.size ? [{ text: picture.size.join("x"), sides: picture.size }] : [];
  const choices = [...sizes, ...now.filter((size) => !facts.sizes.includes(size.text))];
  part("size").replaceChildren(...choices.map(({ text }) => new Option(text.replace("x", " × "), text)));
  part("doubts").replaceChildren(...picture.doubts.map(({ text, weight }) => {
    const item = document.createElement("li");
    item.textContent = text;
    item.className = weight >= 0.5 ? "grave" : weight >= 0.3 ? "mild" : "slight";
    return item;
  }));
  listen(card, part);
  update(card);
  return card;
}

function update(card) {
  const { picture } = card;
  const part = (name) => card.querySelector(`.${name}`);
  const { box, size, skip } = current(picture);
  const [width, height] = picture.picture;
  const edited = changes.get(picture.name);
  card.classList.toggle("out", skip);
  card.classList.toggle("unmade", !box);
  card.classList.toggle("edited", edited !== undefined);
  if (box) {
    const [x, y, w, h] = box;
    set(part("window"), rectangle(box));
    set(part("shade"), { d: `M0 0H${width}V${height}H0ZM${x} ${y}V${y + h}H${x + w}V${y}Z` });
    set(part("crop"), { viewBox: box.join(" ") });
    const corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]];
    card.querySelectorAll(".corners circle").forEach((corner, at) => {
      set(corner, { cx: corners[at][0], cy: corners[at][1] });
    });
    part("size").value = size.join("x");
  }
  card.querySelectorAll(".zoom button, .size").forEach((control) => { control.disabled = !box; });
  part("skip").textContent = skip ? "Include" : "Exclude";
  part("undo").hidden = edited === undefined;
  part("automatic").hidden = !picture.wish || Boolean(edited?.automatic);
  part("facts").textContent = described(picture, edited);
  sizeHandles(card);
}

function described(picture, edited) {
  const { box, size, skip } = current(picture);
  const original = picture.picture.join(" × ");
  if (edited?.automatic) return `${original} · the next run chooses`;
  if (!box) return `${original} · ${picture.reason}`;
  const scale = scaleOf({ box, size });
  const scaled = scale > 1.0005 ? `enlarged ${scale.toFixed(2)} ×` : `reduced to ${Math.round(scale * 100)} %`;
  const why = skip ? "excluded" : edited ? "changed, not yet made" : picture.reason;
  return `${original} → ${size.join(" × ")} · ${scaled} · ${why}`;
}

/** Handles keep their size on screen, whatever the picture's. */
function sizeHandles(card) {
  const original = card.querySelector(".original");
  const unit = unitOf(original);
  original.querySelectorAll(".corners circle").forEach((corner) => set(corner, { r: 6 * unit }));
  const point = original.querySelector(".focus-point");
  if (point) set(point, { r: 3.5 * unit });
}

/** Picture pixels per pixel on screen. */
function unitOf(original) {
  const matrix = original.getScreenCTM();
  return matrix && matrix.a > 0 ? 1 / matrix.a : original.viewBox.baseVal.width / 300;
}

function listen(card, part) {
  const { picture } = card;
  const act = (work) => () => {
    activate(card);
    work();
    changed(card);
  };
  part("smaller").addEventListener("click", act(() => zoom(picture, 1 / 1.08)));
  part("larger").addEventListener("click", act(() => zoom(picture, 1.08)));
  part("size").addEventListener("change", act(() => resize(picture, part("size").value.split("x").map(Number))));
  part("skip").addEventListener("click", act(() => change(picture, { skip: !current(picture).skip })));
  part("undo").addEventListener("click", act(() => { changes.delete(picture.name); remember(); }));
  part("automatic").addEventListener("click", act(() => automatic(picture)));
  part("enlarge").addEventListener("click", () => enlarge(picture));
  card.addEventListener("focus", () => activate(card));
  dragging(card, part("original"));
}

function automatic(picture) {
  if (picture.wish) changes.set(picture.name, { automatic: true });
  else changes.delete(picture.name);
  remember();
}

/** Dragging moves the window, a corner resizes it about the opposite one, a click beside it brings it there. */
function dragging(card, original) {
  const { picture } = card;
  let drag = null;
  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(original.getScreenCTM().inverse());
    return [point.x, point.y];
  };
  original.addEventListener("pointerdown", (event) => {
    const mayDrag = event.pointerType !== "touch" || card.classList.contains("active");
    activate(card);
    const { box } = current(picture);
    if (!box || event.button !== 0 || !mayDrag) return;
    const from = place(event);
    const corners = [[box[0], box[1]], [box[0] + box[2], box[1]],
      [box[0] + box[2], box[1] + box[3]], [box[0], box[1] + box[3]]];
    const reach = 14 * unitOf(original);
    const corner = corners.findIndex(([x, y]) => Math.hypot(x - from[0], y - from[1]) < reach);
    const inside = from[0] >= box[0] && from[0] <= box[0] + box[2] && from[1] >= box[1] && from[1] <= box[1] + box[3];
    if (corner < 0 && !inside) {
      const [x, y] = middle(box);
      move(picture, from[0] - x, from[1] - y);
      changed(card);
    }
    drag = { from, box: current(picture).box, anchor: corner < 0 ? null : corners[(corner + 2) % 4] };
    original.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  original.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = place(event);
    const { size } = current(picture);
    if (drag.anchor) {
      change(picture, { box: stretched(picture, size, drag.anchor, [x, y]) });
    } else {
      const [across, down] = middle(drag.box);
      const to = [across + x - drag.from[0], down + y - drag.from[1]];
      change(picture, { box: windowAbout(picture, size, drag.box[2], to) });
    }
    update(card);
  });
  const end = () => {
    if (drag) changed(card);
    drag = null;
  };
  original.addEventListener("pointerup", end);
  original.addEventListener("pointercancel", end);
}

/** The window between a corner that stays and the pointer, as far as the picture and the limit go. */
function stretched(picture, size, [left, top], [x, y]) {
  const [wide, high] = picture.picture;
  const right = x >= left;
  const down = y >= top;
  const room = Math.min(right ? wide - left : left, (down ? high - top : top) * shape(size));
  const wanted = Math.max(Math.abs(x - left), Math.abs(y - top) * shape(size));
  const least = Math.min(size[0] / facts.limit, room);
  const width = clamp(wanted, least, room);
  const height = width / shape(size);
  return [right ? left : left - width, down ? top : top - height, width, height];
}

// ---- The page ------------------------------------------------------------------------------------------------

let active = null;

function activate(card) {
  if (active === card) return;
  active?.classList.remove("active");
  active = card;
  card?.classList.add("active");
}

function changed(card) {
  update(card);
  drawCounts();
  drawFilters();
}

function drawCounts() {
  const count = changes.size;
  byId("changes").textContent = count;
  byId("changes").hidden = count === 0;
  const doubtful = pictures.filter((picture) => picture.doubts.length > 0).length;
  const all = `${pictures.length} ${pictures.length === 1 ? "picture" : "pictures"}`;
  byId("summary").textContent = `${all} from ${facts.source}, ${doubtful} with doubts`;
}

function show(next = {}) {
  Object.assign(view, next);
  const found = matching();
  const pages = Math.max(1, Math.ceil(found.length / facts.block));
  view.page = clamp(view.page, 0, pages - 1);
  const shown = found.slice(view.page * facts.block, (view.page + 1) * facts.block);
  activate(null);
  byId("cards").replaceChildren(...shown.map(newCard));
  byId("cards").childNodes.forEach(sizeHandles);
  byId("nothing").hidden = shown.length > 0;
  byId("legend").hidden = shown.length === 0;
  byId("pager").hidden = pages === 1;
  byId("previous").disabled = view.page === 0;
  byId("next").disabled = view.page === pages - 1;
  byId("again").hidden = pages === 1 || view.page === pages - 1;
  byId("where").textContent = `page ${view.page + 1} of ${pages}`;
  drawFilters();
  drawCounts();
  if ("page" in next) window.scrollTo({ top: 0, behavior: "instant" });
}

function enlarge(picture) {
  const { box } = current(picture);
  if (!box) return;
  const dialog = byId("large");
  const image = dialog.querySelector("img");
  const words = dialog.querySelector("p");
  const isMade = picture.state === "made" && !changes.has(picture.name);
  words.textContent = isMade ? picture.file : `${picture.name}: a preview, made by the next run`;
  image.alt = words.textContent;
  image.onerror = () => preview(picture, image);
  if (isMade) image.src = encodeURI(picture.file).replaceAll("#", "%23").replaceAll("?", "%3F");
  else preview(picture, image);
  dialog.showModal();
}

/** Cuts the crop out of the small picture. */
function preview(picture, image) {
  image.onerror = null;
  const small = new Image();
  small.onload = () => {
    const { box, size } = current(picture);
    const unit = small.naturalWidth / picture.picture[0];
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = size;
    canvas.getContext("2d").drawImage(small, ...box.map((edge) => edge * unit), 0, 0, ...size);
    image.src = canvas.toDataURL("image/jpeg", 0.9);
  };
  small.src = thumbnail(picture);
}

function download() {
  const text = JSON.stringify(overrides(), null, 2) + "\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "overrides.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Put overrides.json into ${facts.folder} and run sargent prepare again.`);
}

let silence = 0;
function say(text) {
  byId("toast").textContent = text;
  byId("toast").hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => { byId("toast").hidden = true; }, 7000);
}

function step(by) {
  const cards = [...byId("cards").children];
  if (cards.length === 0) return;
  const at = active ? cards.indexOf(active) + by : 0;
  const card = cards[clamp(at, 0, cards.length - 1)];
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

/** What a key does to the active card's picture. */
function editByKey(event) {
  const { picture } = active;
  const [width, height] = picture.picture;
  const far = event.shiftKey ? 0.05 : 0.01;
  const texts = sizes.map((size) => size.text);
  const edits = {
    ArrowLeft: () => move(picture, -far * width, 0),
    ArrowRight: () => move(picture, far * width, 0),
    ArrowUp: () => move(picture, 0, -far * height),
    ArrowDown: () => move(picture, 0, far * height),
    "+": () => zoom(picture, 1 / 1.04),
    "=": () => zoom(picture, 1 / 1.04),
    "-": () => zoom(picture, 1.04),
    s: () => resize(picture, sizes[(texts.indexOf(String(current(picture).size?.join("x"))) + 1) % sizes.length].sides),
    x: () => change(picture, { skip: !current(picture).skip }),
    u: () => { changes.delete(picture.name); remember(); },
    a: () => automatic(picture),
  };
  const edit = edits[event.key];
  if (edit) {
    edit();
    changed(active);
  } else if (event.key === "Enter") {
    enlarge(picture);
  } else {
    return false;
  }
  return true;
}

document.addEventListener("keydown", (event) => {
  const writes = event.target.matches("input, select, button") || event.ctrlKey || event.metaKey || event.altKey;
  if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
  if (writes || document.querySelector("dialog[open]")) return;
  const keys = {
    j: () => step(1), k: () => step(-1), n: () => show({ page: view.page + 1 }), p: () => show({ page: view.page - 1 }),
    d: download, "/": () => byId("search").focus(), "?": () => byId("help").showModal(),
  };
  if (keys[event.key]) keys[event.key]();
  else if (!active || !editByKey(event)) return;
  event.preventDefault();
});

byId("download").addEventListener("click", download);
byId("help-button").addEventListener("click", () => byId("help").showModal());
document.querySelectorAll("dialog").forEach((dialog) => {
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
});
byId("previous").addEventListener("click", () => show({ page: view.page - 1 }));
byId("next").addEventListener("click", () => show({ page: view.page + 1 }));
byId("again").addEventListener("click", () => show({ page: view.page + 1 }));
byId("search").addEventListener("input", () => show({ search: byId("search").value, page: 0 }));
byId("order").addEventListener("change", () => show({ order: byId("order").value, page: 0 }));
window.addEventListener("resize", () => byId("cards").childNodes.forEach(sizeHandles));
byId("folder").textContent = facts.folder;

if (facts.leftOut.length > 0) {
  const box = byId("left-out");
  const count = facts.leftOut.length;
  box.hidden = false;
  box.querySelector("summary").textContent = count === 1 ? "1 picture was left out" : `${count} pictures were left out`;
  box.querySelector("ul").replaceChildren(...facts.leftOut.map(({ file, cause, cure }) => {
    const item = document.createElement("li");
    item.textContent = `${file}: ${cause}${cure ? ` (${cure})` : ""}`;
    return item;
  }));
}
recall();
show();
if (changes.size > 0) say("Changes that were not downloaded yet are shown.");
