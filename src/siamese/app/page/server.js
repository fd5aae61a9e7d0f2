// Requests to the server; every error is a Trouble that says what to do.
export class Trouble extends Error {
  constructor(message, photograph = null) {
    super(message);
    this.photograph = photograph;
  }
}

const PAUSE = 1500;
const TRIES = 4;
const pause = (time) => new Promise((done) => setTimeout(done, time));

async function ask(address, options) {
  for (let left = TRIES; ; left -= 1) {
    let response;
    try {
      response = await fetch(address, { credentials: "omit", cache: "no-store", ...options });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Trouble("The server does not answer. It may have been stopped: start it again.");
    }
    let found;
    try {
      found = await response.json();
    } catch {
      throw new Trouble(`The server failed (${response.status}). Its terminal says more.`);
    }
    if (response.ok) return found;
    if (response.status !== 503 || left === 1) throw new Trouble(found.error, found.photograph ?? null);
    await pause(PAUSE);
  }
}

export const get = (address) => ask(address, {});

export const post = (address, values, signal) =>
  ask(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
    signal,
  });

export const send = (address, photographs, signal) =>
  ask(address, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: new Blob(photographs),
    signal,
  });

// Only the last of several calls counts; those before it are given up.
export function latest(work) {
  let running = null;
  return async (...given) => {
    running?.abort();
    const own = (running = new AbortController());
    try {
      const found = await work(own.signal, ...given);
      return own.signal.aborted ? undefined : found;
    } catch (error) {
      if (own.signal.aborted) return undefined;
      throw error;
    }
  };
}
