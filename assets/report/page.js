"use strict";
// Shows the run that stands in the page as JSON. Everything that a user wrote is set as text, never as markup.

const run = JSON.parse(document.getElementById("run").textContent);
const $ = (id) => document.getElementById(id);

/** An element with properties, and children that are elements or text. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function duration(seconds) {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h} h ${m} min` : m > 0 ? `${m} min ${s} s` : `${s} s`;
}

function number(value) {
  if (value === null) return "not a number";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${unit === 0 ? count : count.toFixed(2)} ${units[unit]}`;
}

function table(heads, rows) {
  const cell = (name, head, value) => {
    const made = element(name, { className: head.number ? "number" : "" });
    made.append(value instanceof Node ? value : String(value));
    return made;
  };
  const body = rows.map((row) => {
    if (row.group) return element("tr", { className: "group" }, element("th", { colSpan: heads.length }, row.group));
    const cells = row.cells.map((value, i) => cell("td", heads[i], value));
    return element("tr", { className: row.default ? "default" : "" }, ...cells);
  });
  const head = element("tr", {}, ...heads.map((each) => cell("th", each, each.name)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

// ---- the head ----

function showHead() {
  document.title = `${run.title}: step ${run.step} of ${run.total}`;
  $("title").textContent = run.title;
  const state = $("state");
  state.append(element("span", { className: `pill ${run.state.split(" ")[0]}` }, run.state));
  const parts = [["step ", `${run.step} of ${run.total}`], ["epoch ", run.epoch]];
  if (run.seconds_per_step) parts.push(["", `${number(run.seconds_per_step)} s a step`]);
  if (run.state === "running" && run.seconds_per_step) {
    parts.push(["", `${duration((run.total - run.step) * run.seconds_per_step)} left`]);
  }
  parts.forEach(([about, value], i) => state.append(i ? " · " : "", about, element("b", {}, String(value))));
  state.append(` · written ${new Date(run.written * 1000).toLocaleString()}`);
  const progress = $("progress");
  progress.firstElementChild.style.width = `${run.total ? 100 * run.step / run.total : 0}%`;
  progress.setAttribute("aria-valuenow", run.step);
  progress.setAttribute("aria-valuemax", run.total);
}

function showNotes() {
  $("notes").hidden = run.notes.length === 0;
  const line = (note) => element("li", {}, element("span", {}, `step ${note.step}`), element("div", {}, note.text));
  $("notes").querySelector("ol").append(...run.notes.map(line));
}

// ---- curves ----

const SVG = "http://www.w3.org/2000/svg";
function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Steps that are shown in every chart. */
const view = { from: 0, to: Math.max(run.step, 1) };
const charts = [];

/** Round numbers in a range, about `count` of them. */
function ticks(low, high, count) {
  const wanted = (high - low) / count;
  const magnitude = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((each) => each >= wanted * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(i * step);
  return found;
}

class Chart {
  constructor(title, curves) {
    this.curves = curves.filter((curve) => curve.points.length > 0);
    this.about = element("span", {});
    this.drawing = svg("svg", { role: "img", "aria-label": title });
    this.figure = element("figure", { className: "chart" },
      element("figcaption", {}, title, this.about), this.drawing);
    this.listen();
    charts.push(this);
  }

  draw() {
    const { width, height } = this.drawing.getBoundingClientRect();
    if (width === 0) return;
    const frame = { left: 52, right: width - 18, top: 8, bottom: height - 22 };
    const shown = (curve) => curve.points.filter(([x]) => x >= view.from && x <= view.to);
    const values = this.curves.flatMap((curve) => shown(curve).map(([, y]) => y));
    const logarithmic = $("log").checked && values.some((y) => y > 0);
    const scale = logarithmic ? (y) => Math.log10(Math.max(y, 1e-12)) : (y) => y;
    let [low, high] = this.range(logarithmic ? values.filter((y) => y > 0) : values, scale);
    const x = (step) => frame.left + (step - view.from) / (view.to - view.from) * (frame.right - frame.left);
    const y = (value) => frame.bottom - (scale(value) - low) / (high - low) * (frame.bottom - frame.top);
    this.place = { x, y, frame, step: (px) =>
      view.from + (px - frame.left) / (frame.right - frame.left) * (view.to - view.from) };
    this.drawing.replaceChildren();
    for (const tick of ticks(low, high, 4)) {
      const at = frame.bottom - (tick - low) / (high - low) * (frame.bottom - frame.top);
      this.drawing.append(svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: at, y2: at }));
      const label = number(logarithmic ? 10 ** tick : Number(tick.toPrecision(12)));
      this.drawing.append(svg("text", { x: frame.left - 8, y: at + 4, "text-anchor": "end" }, label));
    }
    for (const tick of ticks(view.from, view.to, Math.max(2, Math.min(8, width / 90)))) {
      if (tick % 1 === 0) {
        this.drawing.append(svg("text", { x: x(tick), y: height - 6, "text-anchor": "middle" }, String(tick)));
      }
    }
    for (const curve of this.curves) {
      const points = shown(curve).map(([step, value]) => `${x(step).toFixed(1)},${
        Math.max(frame.top, Math.min(frame.bottom, y(value))).toFixed(1)}`);
      const style = { class: "curve", stroke: `var(${curve.colour})`, "stroke-width": curve.width };
      if (points.length === 1) {
        const [cx, cy] = points[0].split(",");
        this.drawing.append(svg("circle", { cx, cy, r: 3, fill: style.stroke }));
      } else this.drawing.append(svg("polyline", { ...style, points: points.join(" ") }));
      if (curve.dots) {
        for (const point of points) {
          const [cx, cy] = point.split(",");
          this.drawing.append(svg("circle", { cx, cy, r: 2.5, fill: style.stroke }));
        }
      }
    }
    this.cursor = svg("line", { stroke: "var(--faint)", y1: frame.top, y2: frame.bottom, visibility: "hidden" });
    this.chosen = svg("rect", { fill: "var(--blue)", opacity: 0.15, y: frame.top,
      height: Math.max(0, frame.bottom - frame.top), visibility: "hidden" });
    this.drawing.append(this.cursor, this.chosen);
    this.tell(view.to);
  }

  /** All but the outermost hundredth of the values, with a margin. */
  range(values, scale) {
    const sorted = values.map(scale).sort((a, b) => a - b);
    if (sorted.length === 0) return [0, 1];
    const outside = Math.floor(sorted.length / 200);
    const [low, high] = [sorted[outside], sorted[sorted.length - 1 - outside]];
    const margin = high > low ? 0.06 * (high - low) : Math.abs(high) * 0.1 || 1;
    return [low - margin, high + margin];
  }

  /** Says what the curves are at the step nearest to `step`. */
  tell(step) {
    const parts = this.curves.filter((curve) => curve.name).map((curve) => {
      const nearest = curve.points.reduce((a, b) => Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a);
      return `${curve.name} ${number(nearest[1])} at ${nearest[0]}`;
    });
    this.about.textContent = parts.join(" · ");
  }

  listen() {
    let start = null;
    const at = (event) => event.clientX - this.drawing.getBoundingClientRect().left;
    this.drawing.addEventListener("pointermove", (event) => {
      if (!this.place) return;
      for (const chart of charts) {
        chart.cursor.setAttribute("x1", at(event));
        chart.cursor.setAttribute("x2", at(event));
        chart.cursor.setAttribute("visibility", "visible");
        chart.tell(this.place.step(at(event)));
      }
      if (start !== null) {
        this.chosen.setAttribute("visibility", "visible");
        this.chosen.setAttribute("x", Math.min(start, at(event)));
        this.chosen.setAttribute("width", Math.abs(at(event) - start));
      }
    });
    this.drawing.addEventListener("pointerleave", () => {
      start = null;
      charts.forEach((chart) => chart.draw());
    });
    this.drawing.addEventListener("pointerdown", (event) => { start = at(event); });
    this.drawing.addEventListener("pointerup", (event) => {
      const steps = start === null ? [] : [start, at(event)].map((px) => this.place.step(px)).sort((a, b) => a - b);
      if (steps.length && Math.abs(at(event) - start) > 8 && steps[1] - steps[0] >= 1) {
        [view.from, view.to] = [Math.max(0, steps[0]), Math.min(steps[1], Math.max(run.step, 1))];
        charts.forEach((chart) => chart.draw());
      }
      start = null;
    });
    this.drawing.addEventListener("dblclick", () => {
      [view.from, view.to] = [0, Math.max(run.step, 1)];
      charts.forEach((chart) => chart.draw());
    });
  }
}

/** The mean over nearby points: together a twenty-fifth of all. */
function smooth(points) {
  const reach = Math.floor(points.length / 50);
  return points.map(([step], i) => {
    const near = points.slice(Math.max(0, i - reach), i + reach + 1);
    return [step, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
  });
}

function showCurves() {
  const finite = (points) => points.filter(([, y]) => y !== null);
  const of = (values) => finite(run.curves.step.map((step, i) => [step, values[i]]));
  const raw = (values, faint, strong, name) => [
    { points: of(values), colour: faint, width: 1 },
    { points: smooth(of(values)), colour: strong, width: 2, name },
  ];
  const heldOut = finite(run.held_out.map((each) => [each.step, each.loss]));
  const beside = { points: heldOut, colour: "--violet", width: 2, name: "held out", dots: heldOut.length <= 60 };
  $("charts").append(
    new Chart("Loss", raw(run.curves.loss, "--blue-faint", "--blue", "mean")).figure);
  if (heldOut.length) $("charts").append(new Chart("Held-out loss", [beside]).figure);
  $("charts").append(
    new Chart("Learning rate", [{ points: of(run.curves.lr), colour: "--green", width: 2, name: "rate" }]).figure,
    new Chart("Gradient norm", raw(run.curves.grad_norm, "--orange-faint", "--orange", "mean")).figure);
  const draw = () => charts.forEach((chart) => chart.draw());
  $("log").addEventListener("change", draw);
  new ResizeObserver(draw).observe($("charts"));
}

// ---- pictures ----

function image(picture, className, text) {
  const made = element("img", { src: picture.thumbnail, className, alt: text, loading: "lazy" });
  made.width = picture.width;
  made.height = picture.height;
  return made;
}

function showPictures() {
  const { steps, prompts } = run.pictures;
  $("pictures").hidden = steps.length === 0;
  if (steps.length === 0) return;
  const shown = prompts.map((prompt) => {
    const base = prompt.pictures[0];
    const now = element("img", { className: "now", alt: prompt.text });
    const frame = element("div", { className: "frame" });
    if (base) frame.append(image(base, "base", `${prompt.text}, before training`));
    frame.append(now);
    frame.addEventListener("pointermove", (event) => {
      const { left, width } = frame.getBoundingClientRect();
      frame.style.setProperty("--wipe", `${100 * (event.clientX - left) / width}%`);
    });
    const link = element("a", { textContent: `${prompt.name}, ${prompt.size}` });
    const caption = element("figcaption", {}, prompt.text, element("small", {}, link));
    $("gallery").append(element("figure", { className: "picture" }, frame, caption));
    return (index) => {
      const picture = prompt.pictures[index];
      now.style.visibility = picture ? "visible" : "hidden";
      if (!picture) return;
      [now.src, now.width, now.height] = [picture.thumbnail, picture.width, picture.height];
      link.href = picture.file;
    };
  });
  const slider = $("slider");
  slider.max = steps.length - 1;
  const show = () => {
    $("at").textContent = steps[slider.value];
    slider.setAttribute("aria-valuetext", `step ${steps[slider.value]}`);
    shown.forEach((each) => each(Number(slider.value)));
  };
  slider.addEventListener("input", show);
  const mode = () => { $("gallery").className = document.querySelector("input[name=mode]:checked").value; };
  document.querySelectorAll("input[name=mode]").forEach((radio) => radio.addEventListener("change", mode));
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.matches("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    slider.value = Number(slider.value) + by;
    show();
  });
  slider.value = steps.length - 1;
  mode();
  show();
}

function showRow(section, pictures, caption) {
  $(section).hidden = pictures.length === 0;
  const figure = (picture) => {
    const [text, small] = caption(picture);
    const link = element("a", { href: picture.file }, small);
    const frame = element("div", { className: "frame" }, image(picture, "", text));
    return element("figure", { className: "picture" }, frame,
      element("figcaption", {}, text, element("small", {}, picture.file ? link : small)));
  };
  $(section).querySelector(".row").append(...pictures.map(figure));
}

// ---- tables ----

function showData() {
  const heads = [{ name: "data set" }, { name: "size" }, ...["pictures", "shown an epoch", "batches", "last batch"].map((name) =>
    ({ name, number: true }))];
  const rows = run.data.buckets.map((bucket) => ({ cells: [bucket.data_set, `${bucket.width} x ${bucket.height}`,
    bucket.pictures, bucket.appearances, bucket.batches, bucket.last_batch] }));
  const about = `${run.data.steps_per_epoch} steps an epoch, ${run.total} in all` +
    (run.data.held_out ? `; ${run.data.held_out} pictures are held out` : "");
  $("data").querySelector(".scroll").append(table(heads, rows), element("p", { className: "hint" }, about));
}

function showSettings() {
  const draw = () => {
    const all = $("all").checked;
    const rows = run.settings.flatMap((section) => {
      const kept = section.rows.filter((row) => all || row.changed);
      const lines = kept.map((row) => ({ default: !row.changed,
        cells: [element("code", {}, row.key), element("code", {}, row.value), row.doc] }));
      return lines.length ? [{ group: section.title }, ...lines] : [];
    });
    const heads = [{ name: "setting" }, { name: "value" }, { name: "meaning" }];
    $("settings").querySelector(".scroll").replaceChildren(table(heads, rows));
  };
  $("all").addEventListener("change", draw);
  draw();
}

function showMemory() {
  const most = Math.max(...run.memory.map((part) => part.bytes), 1);
  const bar = (part) => {
    const made = element("span", { className: "bar" });
    made.style.width = `${(12 * part.bytes / most).toFixed(2)}rem`;
    return made;
  };
  const rows = run.memory.filter((part) => part.bytes > 0).map((part) => ({ cells: [part.name, bytes(part.bytes), bar(part)] }));
  $("memory").hidden = rows.length === 0;
  $("memory").querySelector(".scroll").append(table([{ name: "for" }, { name: "planned", number: true }, { name: "" }], rows));
}

function showFiles() {
  const link = (file) => element("a", { href: file }, file);
  run.files.forEach((file, i) => $("files").append(i ? " · " : "Files: ", link(file)));
  $("files").append(element("p", {}, `sargent ${run.version}`));
}

// ---- while the run goes on ----

/** Looks again now and then, where the reader was, and not while the page is being used. */
function stayFresh() {
  const key = `sargent ${run.title}`;
  const store = { get: () => { try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; } },
    set: (value) => { try { sessionStorage.setItem(key, JSON.stringify(value)); } catch { /* private window */ } } };
  const before = store.get();
  if (before) {
    $("log").checked = before.log;
    const chosen = document.querySelector(`input[name=mode][value="${before.mode}"]`);
    if (chosen) chosen.click();
    if (!before.atEnd && before.slider <= Number($("slider").max)) {
      $("slider").value = before.slider;
      $("slider").dispatchEvent(new Event("input"));
    }
    window.scrollTo(0, before.scroll);
  }
  let used = 0;
  ["pointermove", "pointerdown", "keydown", "scroll"].forEach((kind) =>
    window.addEventListener(kind, () => { used = Date.now(); }, { passive: true }));
  window.addEventListener("pagehide", () => store.set({ scroll: window.scrollY, slider: Number($("slider").value),
    atEnd: $("slider").value === $("slider").max, log: $("log").checked,
    mode: document.querySelector("input[name=mode]:checked").value }));
  if (run.state === "running") {
    setInterval(() => { if (Date.now() - used > 5000) location.reload(); }, 30000);
  }
}

showHead();
showNotes();
showCurves();
showPictures();
showRow("strengths", run.strengths, (picture) => [`strength ${picture.strength}`, picture.name]);
showRow("hardest", run.hardest, (picture) => [`${number(picture.relative_loss)} times the usual loss`, picture.name]);
showData();
showSettings();
showMemory();
showFiles();
stayFresh();
charts.forEach((chart) => chart.draw());
