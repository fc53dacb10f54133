// The page that sends photographs: several at a time, each with its progress, and on again after an interruption.

import { notify, problemOf } from "./visem.js";
import { takeFiles } from "./files.js";
import { forget, keep, kept, settle } from "./queue.js";

const AT_ONCE = 4;
const SHOWN = 200; // lines of a list; the rest is counted
const RETRY = 3; // seconds, where the service does not say how many
const LONGEST_RETRY = 60;
const LATER = {
  0: "The service does not answer.",
  408: "The connection is slow.",
  429: "The service wants a pause.",
  502: "The service does not answer.",
  503: "The service is busy.",
  504: "The service does not answer.",
  507: "The disk of the service is full.",
};

const drop = document.getElementById("drop");
const progress = document.getElementById("progress");
const bar = document.getElementById("total");
const summary = document.getElementById("summary");
const active = document.getElementById("active");
const stopButton = document.getElementById("stop");
const look = document.getElementById("look");
const clear = document.getElementById("clear");
const lists = {
  rejected: [document.getElementById("problems"), "refused"],
  duplicate: [document.getElementById("duplicates"), "there already"],
  created: [document.getElementById("created"), "new"],
};

const waiting = [];
const counts = { created: 0, duplicate: 0, rejected: 0 };
const running = new Set();
let total = 0;
let serial = 0;
let unkept = false;
let offline = false;
let drawing = 0;

// Choosing

async function entries(directory) {
  const reader = directory.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    found.push(...some);
  }
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const files = [];
  for (const one of await entries(entry)) files.push(...(await filesOf(one)));
  return files;
}

async function dropped(transfer) {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!roots.length) return [...transfer.files];
  return (await Promise.all(roots.map(filesOf))).flat();
}

/** Why a file is not even sent; undefined when it is. */
function refusal(file) {
  if (file.size > Number(drop.dataset.maxBytes)) {
    return `It has ${Math.round(file.size / 1e6)} MB; the limit is ${Math.round(drop.dataset.maxBytes / 1e6)} MB (${drop.dataset.limit}).`;
  }
  if (/^(video|audio|text)\//.test(file.type)) return "It is no photograph.";
  return undefined;
}

async function add(files) {
  const items = files
    .filter((file) => !/^\.|^(Thumbs\.db|desktop\.ini)$/i.test(file.name))
    .map((file) => ({ key: `${Date.now()}-${serial++}`, name: file.name || "pasted picture", file }));
  if (!items.length) {
    if (files.length) notify("There is no photograph in it.");
    return;
  }
  total += items.length;
  const sendable = [];
  for (const item of items) {
    const reason = refusal(item.file);
    if (reason) finished(item, { status: "rejected", reason });
    else sendable.push(item);
  }
  if (sendable.length && !(await keep(sendable))) unkept = true;
  waiting.push(...sendable);
  draw();
  advance();
}

// Sending

function advance() {
  while (!offline && running.size < AT_ONCE && waiting.length) send(waiting.shift());
  draw();
}

function send(item) {
  const row = document.createElement("li");
  const name = document.createElement("bdi");
  const meter = document.createElement("progress");
  name.textContent = item.name;
  meter.max = 1;
  meter.value = 0;
  meter.setAttribute("aria-label", `Progress of ${item.name}`);
  row.append(name, meter);
  active.append(row);

  const request = new XMLHttpRequest();
  const upload = { item, request };
  running.add(upload);
  request.upload.onprogress = (event) => {
    if (event.lengthComputable && event.loaded < event.total) meter.value = event.loaded / event.total;
    else meter.removeAttribute("value"); // sent; now it is being looked at
  };
  request.onloadend = async () => {
    const changed = request.status === 0 && !upload.stopped && !(await isReadable(item.file));
    running.delete(upload);
    row.remove();
    if (upload.stopped) return;
    if (request.status === 401) {
      location.reload();
    } else if (changed) {
      finished(item, { status: "rejected", reason: "It was changed or deleted after it was chosen. Choose it again." });
    } else if (request.status in LATER) {
      waiting.unshift(item);
      pause(LATER[request.status], Number(request.getResponseHeader("Retry-After")) || RETRY);
    } else {
      finished(item, outcome(request));
    }
    advance();
  };
  const body = new FormData();
  body.append("files", item.file, item.name);
  request.open("POST", "/v1/images");
  request.send(body);
}

/** Whether a file still is what was chosen: the browser reads none that was changed or deleted since. */
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

function outcome(request) {
  let answer;
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    if (request.status === 413) return { status: "rejected", reason: "It is larger than a proxy before the service allows." };
    return { status: "rejected", reason: `The service answered with an error (${request.status}).` };
  }
  if (request.status !== 200) return { status: "rejected", reason: answer.errors?.[0]?.reason ?? answer.detail };
  const [result] = answer.results;
  return { status: result.status, reason: result.reason, id: result.image?.id };
}

function pause(why, seconds) {
  if (offline) return;
  offline = true;
  notify(`${why} Trying again until everything is sent.`);
  setTimeout(() => {
    offline = false;
    advance();
  }, 1000 * Math.min(seconds, LONGEST_RETRY));
}

function finished(item, result) {
  show({ name: item.name, ...result });
  settle(item.key, { name: item.name, ...result });
}

// Showing

function show({ name, status, reason, id }) {
  counts[status] += 1;
  const [details, word] = lists[status];
  details.hidden = false;
  details.querySelector("summary").textContent = `${counts[status].toLocaleString("en")} ${word}`;
  if (counts[status] > SHOWN) return;
  const row = document.createElement("li");
  const label = document.createElement(id ? "a" : "span");
  if (id) label.href = `/photos/${id}`;
  const text = document.createElement("bdi");
  text.textContent = name;
  label.append(text);
  row.append(label);
  if (reason) {
    const why = document.createElement("span");
    why.className = "reason";
    why.textContent = reason;
    row.append(why);
  }
  details.querySelector("ul").append(row);
}

function draw() {
  if (drawing) return;
  drawing = setTimeout(() => {
    drawing = 0;
    const done = counts.created + counts.duplicate + counts.rejected;
    const busy = done < total;
    progress.hidden = total === 0;
    bar.max = Math.max(total, 1);
    bar.value = done;
    const parts = Object.entries(lists)
      .reverse()
      .filter(([status]) => counts[status])
      .map(([status, [, word]]) => `${counts[status].toLocaleString("en")} ${word}`);
    const state = busy ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : "Done";
    const advice = busy && !unkept ? " You may leave; it goes on when you are back." : "";
    summary.textContent = `${state}${parts.length ? ": " : "."}${parts.join(", ")}${parts.length ? "." : ""}${advice}`;
    stopButton.hidden = !busy;
    look.hidden = counts.created + counts.duplicate === 0;
    clear.hidden = busy;
  }, 100);
}

function stop() {
  for (const upload of running) {
    upload.stopped = true;
    upload.request.abort();
  }
  running.clear();
  total -= waiting.length;
  waiting.length = 0;
  active.replaceChildren();
  total = counts.created + counts.duplicate + counts.rejected;
  forget("queue");
  draw();
}

stopButton.addEventListener("click", stop);
clear.addEventListener("click", () => {
  forget("outcomes");
  for (const status of Object.keys(counts)) {
    counts[status] = 0;
    lists[status][0].hidden = true;
    lists[status][0].querySelector("ul").replaceChildren();
  }
  total = 0;
  draw();
});

for (const id of ["pick-files", "pick-folder"]) {
  document.getElementById(id).addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = "";
  });
}

takeFiles({
  hover: (over) => drop.classList.toggle("over", over),
  dropped: async (transfer) => {
    try {
      await add(await dropped(transfer));
    } catch {
      notify("The browser could not read what was dropped.");
    }
  },
  pasted: add,
});

window.addEventListener("beforeunload", (event) => {
  if (unkept && waiting.length + running.size) event.preventDefault();
});

// Going on where the page was left; one page at a time, where browsers can tell

async function resume() {
  const { queue, outcomes } = await kept();
  total += queue.length + outcomes.length;
  for (const one of outcomes) show(one);
  waiting.push(...queue);
  draw();
  advance();
}

if (navigator.locks) {
  navigator.locks.request("visem-uploads", { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    await resume();
    await new Promise(() => {}); // until the page is gone
  });
} else {
  resume();
}

// Sentences

const form = document.getElementById("sentence-form");
const status = document.getElementById("sentence-status");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("texts");
  const texts = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
  const most = Number(form.dataset.maxTexts);
  const sums = { created: 0, duplicates: 0 };
  const refused = [];
  status.textContent = "Adding";
  for (let at = 0; at < texts.length; at += most) {
    try {
      const some = texts.slice(at, at + most);
      const response = await fetch("/v1/sentences", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ texts: some }),
      });
      if (response.status === 401) return location.reload();
      if (!response.ok) {
        status.textContent = await problemOf(response);
        return;
      }
      const answer = await response.json();
      sums.created += answer.created;
      sums.duplicates += answer.duplicates;
      refused.push(...answer.results.filter((one) => one.status === "rejected"));
    } catch {
      status.textContent = "The service does not answer. Is it running?";
      return;
    }
  }
  const parts = [`${sums.created} new`];
  if (sums.duplicates) parts.push(`${sums.duplicates} there already`);
  if (refused.length) parts.push(`${refused.length} refused, which stay here: ${refused[0].reason}`);
  status.textContent = `${parts.join(", ")}.`;
  field.value = refused.map((one) => one.text).join("\n");
});
