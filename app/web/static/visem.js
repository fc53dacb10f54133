// What every page shares: the justified grid, keys, notices, and what happens when the service does not answer.

const box = document.getElementById("box");
const notices = document.getElementById("toasts");

/** Shows a message for a while; the same one only once. */
export function notify(message) {
  if ([...notices.children].some((one) => one.textContent === message)) return;
  const notice = document.createElement("div");
  notice.className = "toast";
  notice.textContent = message;
  notices.append(notice);
  setTimeout(() => notice.remove(), 8000);
}

/** The detail of a problem document, or a sentence that stands for it. */
export async function problemOf(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The service answered with an error (${response.status}).`;
  }
}

/** Tells the style sheet the shape of each photograph; inline styles are not allowed by the security policy. */
function layOut(root) {
  for (const tile of root.querySelectorAll("[data-ratio]")) {
    tile.style.setProperty("--ratio", tile.dataset.ratio);
  }
}

/** Whether an element is one that text is typed into. */
export function isTyping(target) {
  return target.matches("input:not([type=range], [type=file], [type=checkbox]), textarea, select, [contenteditable]");
}

// Moving in the grid

function neighbour(photos, from, key) {
  const index = photos.indexOf(from);
  if (key === "ArrowLeft") return photos[index - 1];
  if (key === "ArrowRight") return photos[index + 1];
  if (key === "Home") return photos[0];
  if (key === "End") return photos[photos.length - 1];
  const here = from.getBoundingClientRect();
  const middle = here.left + here.width / 2;
  const down = key === "ArrowDown";
  let best;
  let bestDistance = Infinity;
  for (let at = index; at >= 0 && at < photos.length; at += down ? 1 : -1) {
    const there = photos[at].getBoundingClientRect();
    const rows = Math.abs(there.top - here.top);
    if (rows < 4) continue; // the same row
    if (rows > 2 * here.height + 80) break; // beyond the next row
    const distance = rows * 4 + Math.abs(there.left + there.width / 2 - middle);
    if (distance < bestDistance) [best, bestDistance] = [photos[at], distance];
  }
  return best;
}

function move(event) {
  const photos = [...document.querySelectorAll("#hits .photo")];
  if (!photos.length) return;
  const active = document.activeElement;
  const from = active?.closest?.(".tile")?.querySelector(".photo");
  if (!from && event.key !== "ArrowDown" && event.key !== "ArrowRight") return;
  const to = from ? neighbour(photos, from, event.key) : photos[0];
  if (!to) return;
  event.preventDefault();
  to.focus({ preventScroll: true });
  to.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target;
  if (target === box && event.key === "ArrowDown") return move(event);
  if (isTyping(target)) {
    if (event.key === "Escape" && target === box) box.blur();
    return;
  }
  if (target.closest("[role=application], dialog")) return;
  if (target.matches("a[role=button]") && event.key === " ") {
    event.preventDefault();
    target.click();
  } else if (event.key === "/" && box) {
    event.preventDefault();
    box.focus();
    box.select();
  } else if (event.key === "?") {
    document.getElementById("keys").showModal();
  } else if (/^Arrow|^Home$|^End$/.test(event.key) && !target.matches("input[type=range]")) {
    move(event);
  } else if ((event.key === "+" || event.key === "-") && target.closest(".tile")) {
    target.closest(".tile").querySelector(`[data-compose="${event.key}"]`)?.click();
  }
});

// Notices about deletions end when there is nothing to undo any more

for (const toast of document.querySelectorAll(".toast[data-seconds]")) {
  setTimeout(() => toast.remove(), Number(toast.dataset.seconds) * 1000);
}

// New content, and requests that fail

document.addEventListener("htmx:load", (event) => layOut(event.detail.elt));
layOut(document);

// An image that cannot be had now, because its folder is away, leaves its description. A tile whose photograph was deleted
// meanwhile goes.
async function withoutImage(image) {
  const tile = image.closest(".tile");
  const answer = tile && (await fetch(image.src, { method: "HEAD" }).catch(() => null));
  if (answer?.status === 404) tile.classList.add("gone");
  else image.replaceWith(image.alt);
}
const IMAGES = ".tile img, .stage img, .composer img";
document.addEventListener(
  "error",
  (event) => {
    if (event.target.matches?.(IMAGES)) withoutImage(event.target);
  },
  true,
);
for (const image of document.querySelectorAll(IMAGES)) if (image.complete && !image.naturalWidth) withoutImage(image); // too early for us

function failed(event, message) {
  const further = event.target.closest?.(".further");
  if (!further) return notify(message);
  const retry = document.createElement("button");
  retry.textContent = "Load more";
  retry.addEventListener("click", () => {
    retry.remove();
    window.htmx.trigger(further.querySelector(".reach"), "retry");
  });
  further.append(retry);
}

document.addEventListener("htmx:sendError", (event) => failed(event, "The service does not answer. Is it running?"));
document.addEventListener("htmx:responseError", (event) => {
  const { status } = event.detail.xhr;
  if (status !== 401) failed(event, status === 404 ? "That is not there any more." : `That failed (${status}).`);
});
