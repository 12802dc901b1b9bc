/**
 * A LoadGenerator in a worker thread, so that building and encoding never
 * delay the thread that measures queries.
 */

import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { LoadGenerator } from '../rwgen.mjs';

export class Loader {
  #worker;
  #pending = new Map();
  #id = 0;

  /** `yields` lets every other thread go first: for who measures something else on the same core. */
  constructor(options) {
    this.#worker = new Worker(fileURLToPath(import.meta.url), { workerData: { loader: options } });
    this.#worker.on('message', ({ id, event, result, error }) => {
      const call = this.#pending.get(id);
      if (event) return call.onStart?.();
      this.#pending.delete(id);
      if (error) call.reject(new Error(error));
      else call.resolve(result);
    });
    this.#worker.on('error', (error) => {
      for (const call of this.#pending.values()) call.reject(error);
    });
  }

  #call(method, args, onStart) {
    return new Promise((resolve, reject) => {
      const id = ++this.#id;
      this.#pending.set(id, { resolve, reject, onStart });
      this.#worker.postMessage({ id, method, args });
    });
  }

  /** Back to the first state of the dataset. */
  reset() {
    return this.#call('reset', []);
  }
  connect(url, options) {
    return this.#call('connect', [url, options]);
  }
  expectedSum(first, count) {
    return this.#call('expectedSum', [first, count]);
  }
  run({ onStart, ...options }) {
    return this.#call('run', [options], onStart);
  }
  close() {
    return this.#worker.terminate();
  }
}

if (!isMainThread && workerData?.loader) {
  const { yields = false, ...load } = workerData.loader;
  if (yields) lowerOwnPriority();
  const generator = new LoadGenerator(load);
  const methods = {
    reset: () => generator.dataset.reset(),
    connect: (url, options) => generator.connect(url, options),
    expectedSum: (first, count) => generator.dataset.expectedSum(first, count),
    run: (options, id) => generator.run({ ...options, onStart: () => parentPort.postMessage({ id, event: 'start' }) }),
  };
  parentPort.on('message', async ({ id, method, args }) => {
    try {
      parentPort.postMessage({ id, result: await methods[method](...args, id) });
    } catch (error) {
      parentPort.postMessage({ id, error: String(error?.stack ?? error) });
    }
  });
}

/** Of this thread alone, which Linux gives a number of its own. */
function lowerOwnPriority() {
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), 10);
  } catch (error) {
    console.error(`the sender does not yield: ${error.message}`);
  }
}
