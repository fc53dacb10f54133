// What is still to be sent, kept by the browser, so that one can leave the page and come back.

const MOST_BYTES = 2e9; // beyond it the browser would copy too much; then leaving asks first

const opened = new Promise((resolve) => {
  if (!window.indexedDB) return resolve(null);
  const request = indexedDB.open("visem-uploads", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("queue", { keyPath: "key" });
    request.result.createObjectStore("outcomes", { keyPath: "key" });
  };
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => resolve(null); // private windows may have none
});

async function transaction(store, mode, work) {
  const database = await opened;
  if (!database) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const request = work(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

/** Keeps files that are to be sent; false when the browser does not, and they last as long as the page only. */
export async function keep(items) {
  const bytes = items.reduce((sum, item) => sum + item.file.size, 0);
  if (!(await opened) || bytes > MOST_BYTES) return false;
  try {
    await transaction("queue", "readwrite", (store) => items.map((item) => store.put(item)).pop());
    return true;
  } catch {
    return false;
  }
}

/** Notes what became of a file, which is not to be sent again. */
export async function settle(key, outcome) {
  try {
    await transaction("queue", "readwrite", (store) => store.delete(key));
    await transaction("outcomes", "readwrite", (store) => store.put({ key, ...outcome }));
  } catch {
    // Sent again when one comes back, it is a duplicate: no harm.
  }
}

/** What was kept: files to send, and what became of others. */
export async function kept() {
  try {
    const queue = (await transaction("queue", "readonly", (store) => store.getAll())) ?? [];
    const outcomes = (await transaction("outcomes", "readonly", (store) => store.getAll())) ?? [];
    return { queue, outcomes };
  } catch {
    return { queue: [], outcomes: [] };
  }
}

/** Forgets files to send, or what became of them: "queue" or "outcomes". */
export async function forget(store) {
  try {
    await transaction(store, "readwrite", (one) => one.clear());
  } catch {
    // Nothing was kept, then.
  }
}
