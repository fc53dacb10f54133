// The page of a photograph: the way back, and its captions as what stands for it where it cannot be seen.

import "./visem.js";

const photo = document.getElementById("photo");

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.target.matches("input, textarea, select") || event.target.closest("dialog")) return;
  const fromHere = document.referrer && new URL(document.referrer).origin === location.origin;
  if (fromHere && history.length > 1) history.back();
  else location.assign("/");
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id !== "words") return;
  const first = document.querySelector("#words .captions li bdi");
  if (first && photo) photo.alt = first.textContent; // it is gone already where its file could not be read
});
