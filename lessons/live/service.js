// The service worker of the site, on https and on localhost. It does two things:
// 1. It adds the headers under which a browser allows SharedArrayBuffer, so that a cell can be stopped and its names stay.
// 2. It keeps the files of the site, so that the course opens without a connection.
// The build writes the two lists. A file whose name has its version or its hash never changes: it is taken from the cache first.

const VERSION = "", FILES = [], FIXED = [];
const CACHE = `minilora ${registration.scope} ${VERSION}`;
const known = new Set([...FILES, ...FIXED].map((name) => new URL(name, registration.scope).href));
const fixed = new Set(FIXED.map((name) => new URL(name, registration.scope).href));

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(tidy()));
addEventListener("fetch", (event) => { if (event.request.method === "GET") event.respondWith(answer(event)); });
addEventListener("message", (event) => { if (event.data === "keep") event.waitUntil(keepAll(event.source)); });

async function tidy() { // caches of earlier versions of this site
  const old = (await caches.keys()).filter((name) => name.startsWith(`minilora ${registration.scope} `) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

function isolated(response) { // the same response with the two headers
  if (!response.status) return response; // a redirection: the browser follows it
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "cross-origin");
  const { status, statusText } = response;
  return new Response(status === 204 || status === 304 ? null : response.body, { status, statusText, headers });
}

async function answer(event) {
  const cache = await caches.open(CACHE), address = event.request.url.split(/[?#]/)[0];
  const kept = () => cache.match(address, { ignoreVary: true });
  if (fixed.has(address)) {
    const found = await kept();
    if (found) return isolated(found);
  }
  try {
    const response = await fetch(event.request);
    if (response.status === 200 && known.has(address)) event.waitUntil(cache.put(address, response.clone()));
    return isolated(response);
  } catch (error) {
    const found = await kept();
    if (found) return isolated(found);
    throw error;
  }
}

async function keepAll(page) { // one file after another, so that what the reader waits for is not slowed down
  const cache = await caches.open(CACHE);
  for (const address of known) {
    if (await cache.match(address)) continue;
    const response = await fetch(address).catch(() => null);
    if (response?.status !== 200) return; // the next visit goes on
    await cache.put(address, response);
  }
  page?.postMessage("kept");
}
