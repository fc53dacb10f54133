// The search page: what is typed, clicked, dropped or pasted becomes an address, and the address becomes results.

import { takeFiles } from "./files.js";
import { notify, problemOf } from "./visem.js";

const WAIT = 80; // milliseconds without a key before a search starts
const DATE_WAIT = 600; // the same for dates, whose years are typed digit by digit
const NEW_ENTRY = 1500; // milliseconds of rest after which typing makes a new entry of the history

const form = document.getElementById("search");
const box = document.getElementById("box");
const marks = form.querySelector(".marks");
const sure = document.getElementById("sure");
const slider = document.getElementById("confidence");
const when = document.getElementById("when");
const days = { first: document.getElementById("first"), last: document.getElementById("last") };
const hint = document.getElementById("drop-hint");

let timer;
let lastTyped = 0;
let keepText = false; // while somebody types, what comes back does not touch the box

const results = () => document.getElementById("results").dataset;

/** Joins the operands that stand as chips only with those in the box. */
function joined(references, text) {
  if (!references || !text) return references || text;
  return /^[-+\u2212\u2013](\s|$)/.test(text) ? `${references} ${text}` : `${references} + ${text}`;
}

function parameters() {
  return new URLSearchParams(location.search);
}

function address(search) {
  const query = search.toString();
  return query ? `/?${query}` : "/";
}

/** Makes an address the one that is shown, and loads its results. */
function go(url, { replace = false, typing = false } = {}) {
  clearTimeout(timer);
  keepText = typing;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  window.htmx.trigger(form, "visem:search");
}

form.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.elt !== form) return;
  event.detail.path = `/results${location.search}`;
  event.detail.parameters = {};
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.requestConfig?.elt !== form) return;
  if (!keepText) box.value = results().text;
  const query = parameters().get("q");
  document.title = query ? `${query} · Visem` : "Visem";
  if (event.detail.target?.id === "results") scrollTo({ top: 0 });
  showConfidence();
  showTarget();
  showDays();
  mark();
});

window.addEventListener("popstate", () => {
  keepText = false;
  slider.value = parameters().get("min_confidence") ?? 0;
  window.htmx.trigger(form, "visem:search");
});

// Typing

function typed(replace) {
  const search = parameters();
  const query = joined(results().references, box.value.trim());
  if (query === (search.get("q") ?? "")) return;
  if (query) search.set("q", query);
  else search.delete("q");
  go(address(search), { replace, typing: true });
}

box.addEventListener("input", () => {
  mark();
  clearTimeout(timer);
  timer = setTimeout(() => {
    const now = Date.now();
    typed(now - lastTyped < NEW_ENTRY);
    lastTyped = now;
  }, WAIT);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  typed(Date.now() - lastTyped < NEW_ENTRY);
  lastTyped = 0;
});

/** Underlines the words that the model does not know, in a copy of the text behind the box. */
function mark() {
  const unknown = new Set(document.getElementById("message").dataset.unknown.split(" ").filter(Boolean));
  marks.replaceChildren();
  for (const part of box.value.split(/([\p{L}\p{N}'’-]+)/u)) {
    if (unknown.has(part.toLowerCase())) {
      const word = document.createElement("mark");
      word.textContent = part;
      marks.append(word);
    } else {
      marks.append(part);
    }
  }
  marks.scrollLeft = box.scrollLeft;
}

box.addEventListener("scroll", () => (marks.scrollLeft = box.scrollLeft));

// Chips, and what else is an address within this page

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    go(link.getAttribute("href"));
    return;
  }
  const segment = event.target.closest("a[data-target]");
  if (segment && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    const search = parameters();
    if (segment.dataset.target === "images") search.delete("target");
    else search.set("target", segment.dataset.target);
    go(address(search));
    return;
  }
  const append = event.target.closest("[data-append]");
  if (append) {
    box.value = `${box.value.trim()} ${append.dataset.append} `.trimStart();
    box.focus();
    return;
  }
  const compose = event.target.closest("[data-compose]");
  if (compose) {
    const search = parameters();
    const operand = `image:${compose.closest(".tile").dataset.id}`;
    const query = search.get("q");
    const sign = compose.dataset.compose;
    search.set("q", query ? `${query} ${sign} ${operand}` : sign === "-" ? `- ${operand}` : operand);
    go(address(search));
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-go]")) go(event.target.value);
});

function showTarget() {
  const target = parameters().get("target") ?? "images";
  for (const segment of document.querySelectorAll("a[data-target]")) {
    if (segment.dataset.target === target) segment.setAttribute("aria-current", "true");
    else segment.removeAttribute("aria-current");
  }
  when.hidden = target !== "images";
}

// Days when photographs were taken

function showDays() {
  for (const [name, input] of Object.entries(days)) {
    if (document.activeElement !== input) input.value = results()[name];
  }
}

/** The day after the last one: a search ends before its `taken_before`. */
function dayAfter(day) {
  const date = new Date(`${day}T00:00Z`);
  date.setUTCDate(date.getUTCDate() + 1);
  return date.toISOString().slice(0, 10);
}

function limitDays() {
  const search = parameters();
  const { first, last } = days;
  const limits = { taken_after: first.value, taken_before: last.value && dayAfter(last.value) };
  if (first.value === results().first) delete limits.taken_after; // it may be a time, which the field does not show
  if (last.value === results().last) delete limits.taken_before;
  for (const [name, limit] of Object.entries(limits)) {
    if (limit) search.set(name, limit);
    else search.delete(name);
  }
  if (Object.keys(limits).length) go(address(search));
}

for (const input of Object.values(days)) {
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(limitDays, DATE_WAIT);
  });
}

document.addEventListener("click", (event) => {
  if (!when.contains(event.target)) when.open = false;
});

when.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  when.open = false;
  when.querySelector("summary").focus();
});

// Confidence

function showConfidence() {
  sure.hidden = results().confidence !== "yes";
  sure.querySelector("output").textContent = Math.round(slider.value * 100);
}

slider.addEventListener("input", () => {
  showConfidence();
  clearTimeout(timer);
  timer = setTimeout(() => {
    const search = parameters();
    if (Number(slider.value)) search.set("min_confidence", slider.value);
    else search.delete("min_confidence");
    go(address(search), { replace: true });
  }, WAIT);
});

// A photograph to search with: picked, dropped or pasted

async function searchWith(file) {
  form.classList.add("htmx-request");
  try {
    const body = new FormData();
    body.append("image", file, file.name || "pasted");
    const response = await fetch("/pictures", { method: "POST", body });
    if (!response.ok) {
      notify(await problemOf(response));
      return;
    }
    const search = parameters();
    search.set("picture", (await response.json()).picture);
    go(address(search));
  } catch {
    notify("The service does not answer. Is it running?");
  } finally {
    form.classList.remove("htmx-request");
  }
}

document.getElementById("picture").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) searchWith(file);
});

takeFiles({
  hover: (over) => (hint.hidden = !over),
  dropped: ({ files: [file] }) => file && searchWith(file),
  pasted: ([file]) => searchWith(file),
  wanted: (file) => file.type.startsWith("image/"),
});

showConfidence();
mark();
