// The page's Python, for the playground: the worker of the lessons, one piece of code after the other.

export class Python {
  // worker, archive: addresses, the data-* of the page; told(status): what is being loaded
  constructor({ worker, archive }, told) {
    this.worker = new Worker(worker, { type: "module" });
    this.started = new Promise((resolve, reject) => { this.waiting = { resolve, reject }; });
    this.worker.onmessage = ({ data }) => this.receive(data, told);
    this.worker.onerror = (event) => this.fail(event.message || "its files cannot be loaded");
    this.worker.postMessage({ start: { archive: new URL(archive, location.href).href, kept: "", interrupt: null } });
  }

  receive(data, told) {
    if (data.status) told(data.status);
    if (data.playground) this.result = data.playground;
    if (data.failed) this.fail(data.failed);
    if (data.ready) this.waiting.resolve();
    if (data.done && data.error) this.waiting.reject(new Error(sentence(data.error)));
    else if (data.done) this.waiting.resolve(this.result);
  }

  fail(why) { this.waiting.reject(new Error(`Python does not run here: ${why}`)); }

  async run(code) { // -> the fields of its last message to the page
    await this.started;
    this.result = null;
    const done = new Promise((resolve, reject) => { this.waiting = { resolve, reject }; });
    this.worker.postMessage({ run: code, name: "the playground" });
    return done;
  }

  end() { this.worker.terminate(); }
}

// The last line of a traceback, without the name of the exception.
const sentence = (traceback) => traceback.trim().split("\n").at(-1).replace(/^[\w.]*Error: /, "");

// A value as Python's source code: a string of JSON, which json.loads reads.
export const asPython = (value) => JSON.stringify(JSON.stringify(value));
