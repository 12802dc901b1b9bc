/** The page's side of `answer-worker.ts`: a question goes over, what is shown of the answer comes back. */
import type { Question, Shown } from './answers.ts';

export interface Asked {
  readonly id: number;
  /** Null gives the question up. */
  readonly question: Question | null;
}

export type Told = { readonly id: number; readonly shown: Shown } | { readonly id: number; readonly error: string };

/** Path of the worker's bundle, which is built first. */
declare const ANSWER_WORKER: string;

interface Waiting {
  readonly resolve: (shown: Shown) => void;
  readonly reject: (error: Error) => void;
}

const waiting = new Map<number, Waiting>();
let thread: Worker | null = null;
let nextId = 0;

export function answerOf(question: Question, signal: AbortSignal): Promise<Shown> {
  return new Promise((resolve, reject) => {
    const id = nextId++;
    waiting.set(id, { resolve, reject });
    thread ??= startThread();
    thread.postMessage({ id, question } satisfies Asked);
    signal.addEventListener('abort', () => thread?.postMessage({ id, question: null } satisfies Asked), { once: true });
  });
}

function startThread(): Worker {
  const started = new Worker(ANSWER_WORKER);
  started.addEventListener('message', ({ data }: MessageEvent<Told>) => {
    const one = waiting.get(data.id);
    waiting.delete(data.id);
    if ('shown' in data) one?.resolve(data.shown);
    else one?.reject(new Error(data.error));
  });
  // A thread that could not be loaded answers nothing; the next question starts another.
  started.addEventListener('error', ({ message }) => {
    for (const { reject } of waiting.values())
      reject(new Error(message || 'cannot start the thread that reads answers'));
    waiting.clear();
    thread = null;
    started.terminate();
  });
  return started;
}
