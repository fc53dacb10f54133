// Files that are dropped on a page or pasted into it.

import { isTyping } from "./visem.js";

/** Whether text is pasted where text is typed: what copies text often puts a picture of it on the clipboard, too. */
function isText(event) {
  return event.clipboardData.types.includes("text/plain") && event.target instanceof Element && isTyping(event.target);
}

/** Takes all files: `hover(true)` and `hover(false)` while they are dragged over the page, `dropped(dataTransfer)`,
 * and `pasted(files)` with those that are wanted, if there are any. */
export function takeFiles({ hover, dropped, pasted, wanted = () => true }) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hover(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hover(false);
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hover(false);
    dropped(event.dataTransfer);
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].filter(wanted);
    if (!files.length || isText(event)) return;
    event.preventDefault();
    pasted(files);
  });
}
