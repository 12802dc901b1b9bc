/** The thread that asks Explore's questions and reads the replies; `answers.ts` says why. A bundle of its own. */
import type { Asked, Told } from './answer-thread.ts';
import { type QueryData, type Question, shownOf } from './answers.ts';
import { ask } from './api.ts';

const open = new Map<number, AbortController>();

addEventListener('message', ({ data }: MessageEvent<Asked>) => {
  if (data.question === null) open.get(data.id)?.abort();
  else void answer(data.id, data.question);
});

async function answer(id: number, { path, parameters, grid }: Question): Promise<void> {
  const controller = new AbortController();
  open.set(id, controller);
  try {
    const shown = shownOf(await ask<QueryData>(path, parameters, controller.signal), grid);
    tell({ id, shown }, shown.lines === null ? [] : [shown.lines.values.buffer as ArrayBuffer]);
  } catch (error) {
    tell({ id, error: (error as Error).message });
  } finally {
    open.delete(id);
  }
}

function tell(told: Told, transfer: Transferable[] = []): void {
  postMessage(told, { transfer });
}
