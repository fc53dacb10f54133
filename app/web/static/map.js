// The map: photographs as points in a plane, thumbnails when there is room, and the user's words among them.

import { notify, problemOf } from "./visem.js";

const LARGEST = 132; // pixels of a thumbnail's longer side, when few are in view
const SMALLEST = 46;
const MOST_ZOOM = 400;
const STEP = 1.5; // of a key or a button

const frame = document.getElementById("map");
const canvas = document.getElementById("canvas");
const status = document.getElementById("map-status");
const form = document.getElementById("words-form");
const input = document.getElementById("words");

if (frame) {
  const context = canvas.getContext("2d");
  const thumbnails = new Map();
  const described = new Map();
  const pointers = new Map();

  let points = [];
  let words = [];
  let bounds = { width: 1, height: 1 };
  let zoom = 1; // 1: everything fits
  let centre = { x: 0, y: 0 };
  let chosen = null;
  let pending = 0;
  let moved = 0;
  let colours = {};

  // Kept, because to ask the canvas for every point takes most of the time of a frame
  let size = { width: canvas.clientWidth, height: canvas.clientHeight };
  const width = () => size.width;
  const height = () => size.height;
  const fitting = () => Math.min((width() - Math.min(150, width() / 4)) / bounds.width, (height() - 110) / bounds.height);
  const scale = () => Math.max(fitting(), 1e-6) * zoom;
  const toScreen = (point) => ({
    x: width() / 2 + (point.x - centre.x) * scale(),
    y: height() / 2 - (point.y - centre.y) * scale(),
  });
  const toPlane = (x, y) => ({
    x: centre.x + (x - width() / 2) / scale(),
    y: centre.y - (y - height() / 2) / scale(),
  });

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["page", "text", "soft", "accent", "warm", "on-warm", "line"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  async function load() {
    const search = new URLSearchParams({ limit: frame.dataset.limit });
    const wanted = input.value.split(",").map((word) => word.trim()).filter(Boolean);
    if (wanted.length) search.set("words", wanted.join(","));
    status.textContent = "Loading the map";
    let answer;
    try {
      const response = await fetch(`/v1/map?${search}`);
      if (response.status === 401) return location.reload();
      if (!response.ok) {
        status.textContent = await problemOf(response);
        if (!points.length && wanted.length) {
          input.value = "";
          await load();
          notify("These words cannot be placed.");
        }
        return;
      }
      answer = await response.json();
    } catch {
      status.textContent = "The service does not answer. Is it running?";
      return;
    }
    points = answer.points
      .filter((one) => one.kind === "image")
      .map(({ x, y, image_id, filename }) => ({ x, y, id: image_id, name: filename }));
    words = answer.points.filter((one) => one.kind === "word");
    chosen = null;
    fit();
    const all = answer.total_images;
    const of = points.length < all ? ` of ${all.toLocaleString("en")}` : "";
    const parts = [`${points.length.toLocaleString("en")}${of} photographs`];
    if (words.length) parts.push(`${words.length} ${words.length === 1 ? "word" : "words"}`);
    if (answer.unknown_words?.length) parts.push(`unknown: ${answer.unknown_words.join(", ")}`);
    status.textContent = parts.join(" · ");
  }

  function fit() {
    const all = [...points, ...words];
    const xs = all.map((one) => one.x);
    const ys = all.map((one) => one.y);
    const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
    const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
    const [left, right, low, high] = [least(xs), most(xs), least(ys), most(ys)];
    bounds = { width: right - left || 1, height: high - low || 1 };
    centre = { x: (left + right) / 2, y: (low + high) / 2 };
    zoom = 1;
    draw();
  }

  // Drawing

  function draw() {
    if (!pending) pending = requestAnimationFrame(paint);
  }

  function visible() {
    const margin = 60;
    return points
      .map((point) => ({ point, ...toScreen(point) }))
      .filter(({ x, y }) => x > -margin && y > -margin && x < width() + margin && y < height() + margin);
  }

  function thumbnail(id) {
    let image = thumbnails.get(id);
    if (!image) {
      image = new Image();
      image.onload = draw;
      image.src = `/v1/images/${id}/thumbnail`;
      thumbnails.set(id, image);
    }
    return image.complete && image.naturalWidth ? image : null;
  }

  function picture(image, x, y, side) {
    const longest = Math.max(image.naturalWidth, image.naturalHeight);
    const [w, h] = [(image.naturalWidth / longest) * side, (image.naturalHeight / longest) * side];
    context.save();
    context.beginPath();
    context.roundRect(x - w / 2, y - h / 2, w, h, 4);
    context.clip();
    context.drawImage(image, x - w / 2, y - h / 2, w, h);
    context.restore();
    return [w, h];
  }

  function paint() {
    pending = 0;
    const ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width() * ratio) || canvas.height !== Math.round(height() * ratio)) {
      canvas.width = Math.round(width() * ratio);
      canvas.height = Math.round(height() * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width(), height());
    const shown = visible();
    const [xs, ys] = [shown.map((one) => one.x), shown.map((one) => one.y)];
    const extent = (values, most) => Math.min(Math.max(...values) - Math.min(...values), most);
    const room = Math.sqrt((extent(xs, width()) * extent(ys, height())) / Math.max(shown.length, 1)) || LARGEST;
    const side = Math.min(Math.max(room * 0.6, SMALLEST), LARGEST);
    context.fillStyle = colours.accent;
    context.globalAlpha = 0.4;
    for (const { x, y } of shown) {
      context.beginPath();
      context.arc(x, y, 3, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
    for (const { point, x, y } of apart(shown, side)) {
      const image = thumbnail(point.id);
      if (image) picture(image, x, y, side);
    }
    for (const word of words) label(word);
    if (chosen) highlight(side);
  }

  /** As many of the points as have room for a thumbnail: an earlier one goes before a later one. */
  function apart(shown, side) {
    const cells = new Map();
    const found = [];
    for (const one of shown) {
      // Cells of the plane, not of the screen: what has room stays when the map is moved.
      const [column, row] = [Math.floor((one.point.x * scale()) / side), Math.floor((one.point.y * scale()) / side)];
      let free = true;
      for (let dx = -1; dx <= 1 && free; dx++) {
        for (let dy = -1; dy <= 1 && free; dy++) {
          const other = cells.get(`${column + dx},${row + dy}`);
          free = !other || Math.abs(other.x - one.x) >= side + 2 || Math.abs(other.y - one.y) >= side + 2;
        }
      }
      if (!free) continue;
      cells.set(`${column},${row}`, one);
      found.push(one);
    }
    return found;
  }

  function label(word) {
    const { x, y } = toScreen(word);
    context.font = `600 14px ${getComputedStyle(document.body).fontFamily}`;
    const w = context.measureText(word.word).width + 20;
    context.fillStyle = colours.warm;
    context.strokeStyle = colours.page;
    context.lineWidth = 2;
    context.beginPath();
    context.roundRect(x - w / 2, y - 14, w, 28, 14);
    context.fill();
    context.stroke();
    context.fillStyle = colours["on-warm"];
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(word.word, x, y + 0.5);
  }

  function highlight(side) {
    const { x, y } = toScreen(chosen);
    const image = thumbnail(chosen.id);
    const large = Math.max(side * 1.25, 120);
    const [w, h] = image ? picture(image, x, y, large) : [14, 14];
    context.strokeStyle = colours.accent;
    context.lineWidth = 3;
    context.beginPath();
    context.roundRect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4, 6);
    context.stroke();
  }

  // Choosing

  async function choose(point, { say = false } = {}) {
    if (chosen === point) return;
    chosen = point;
    canvas.classList.toggle("over", Boolean(point));
    draw();
    if (!point || !say) return;
    const id = point.id;
    if (!described.has(id)) {
      const response = await fetch(`/v1/images/${id}`).catch(() => null);
      if (!response?.ok) return;
      const record = await response.json();
      const concepts = record.concepts.slice(0, 4).map((one) => one.word);
      described.set(id, [record.filename, concepts.join(", ")].filter(Boolean).join(": "));
    }
    if (chosen === point) status.textContent = described.get(id);
  }

  function nearest(x, y) {
    let best = null;
    let least = 40;
    for (const one of visible()) {
      const distance = Math.hypot(one.x - x, one.y - y);
      if (distance < least) [best, least] = [one.point, distance];
    }
    return best;
  }

  function next(key) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    const from = chosen ? toScreen(chosen) : { x: width() / 2, y: height() / 2 };
    let best = null;
    let least = Infinity;
    for (const point of points) {
      if (point === chosen) continue;
      const at = toScreen(point);
      const along = (at.x - from.x) * dx + (at.y - from.y) * dy;
      const across = Math.abs((at.x - from.x) * dy) + Math.abs((at.y - from.y) * dx);
      if (chosen && along <= 0) continue;
      const cost = Math.abs(along) + 2.5 * across;
      if (cost < least) [best, least] = [point, cost];
    }
    return best;
  }

  function reveal(point) {
    const { x, y } = toScreen(point);
    const margin = 70;
    if (x < margin || y < margin || x > width() - margin || y > height() - margin) {
      centre = { x: point.x, y: point.y };
      draw();
    }
  }

  const open = (point) => location.assign(`/photos/${point.id}`);

  // Moving

  function zoomBy(factor, x = width() / 2, y = height() / 2) {
    const before = toPlane(x, y);
    zoom = Math.min(Math.max(zoom * factor, 0.5), MOST_ZOOM);
    const after = toPlane(x, y);
    centre = { x: centre.x + before.x - after.x, y: centre.y + before.y - after.y };
    draw();
  }

  function panBy(dx, dy) {
    centre = { x: centre.x - dx / scale(), y: centre.y + dy / scale() };
    draw();
  }

  const at = (event) => {
    const area = canvas.getBoundingClientRect();
    return { x: event.clientX - area.left, y: event.clientY - area.top };
  };

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = at(event);
    zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), x, y);
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    if (pointers.size === 1) moved = 0;
  });

  canvas.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) return choose(nearest(now.x, now.y), { say: true });
    const [dx, dy] = [now.x - before.x, now.y - before.y];
    moved += Math.hypot(dx, dy);
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
      zoomBy(apart(now) / Math.max(apart(before), 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else if (moved > 5) {
      panBy(dx, dy);
    }
    pointers.set(event.pointerId, now);
  });

  canvas.addEventListener("pointerup", (event) => {
    const wasDown = pointers.delete(event.pointerId);
    if (!wasDown || moved > 5 || pointers.size) return;
    const { x, y } = at(event);
    const point = nearest(x, y);
    if (point) open(point);
  });
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => choose(null));

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) {
      const point = event.shiftKey ? null : next(event.key);
      if (event.shiftKey) {
        const [dx, dy] = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key];
        panBy(dx, dy);
      } else if (point) {
        choose(point, { say: true });
        reveal(point);
      }
    } else if (event.key === "+" || event.key === "=") {
      zoomAround(STEP);
    } else if (event.key === "-") {
      zoomAround(1 / STEP);
    } else if (event.key === "0") {
      fit();
    } else if (event.key === "Enter" && chosen) {
      open(chosen);
    } else if (event.key === "/") {
      document.getElementById("box").focus();
    } else {
      return;
    }
    event.preventDefault();
  });

  function zoomAround(factor) {
    const middle = chosen ? toScreen(chosen) : { x: width() / 2, y: height() / 2 };
    zoomBy(factor, middle.x, middle.y);
  }

  document.getElementById("zoom-in").addEventListener("click", () => zoomAround(STEP));
  document.getElementById("zoom-out").addEventListener("click", () => zoomAround(1 / STEP));
  document.getElementById("zoom-fit").addEventListener("click", fit);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const words = input.value.trim();
    history.pushState(null, "", words ? `/map?${new URLSearchParams({ words })}` : "/map");
    load();
  });
  window.addEventListener("popstate", () => {
    input.value = new URLSearchParams(location.search).get("words") ?? "";
    load();
  });

  new ResizeObserver(() => {
    size = { width: canvas.clientWidth, height: canvas.clientHeight };
    draw();
  }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    draw();
  });
  readColours();
  load().catch(() => notify("The map could not be drawn."));
}
