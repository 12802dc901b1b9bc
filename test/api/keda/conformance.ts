/** `npm run conformance:keda -- <files>`: runs the cases of each file, prints every one that fails, and counts. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type KedaCase, runCase } from './cases.ts';

/** Exit status: 0 if all pass. A folder stands for the `cases.json` in it. */
export async function main(paths: readonly string[]): Promise<number> {
  let passed = 0;
  let failed = 0;
  for (const path of paths) {
    const file = statSync(path).isDirectory() ? join(path, 'cases.json') : path;
    for (const one of JSON.parse(readFileSync(file, 'utf8')) as readonly KedaCase[]) {
      const complaints = await complaintsOf(one);
      if (complaints.length === 0) passed++;
      else {
        failed++;
        console.log(`FAILED ${one.id}\n${complaints.map((complaint) => `  ${complaint}`).join('\n')}`);
      }
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/** What is wrong with a case; a call that fails where none should is told by its message. */
export async function complaintsOf(one: KedaCase): Promise<readonly string[]> {
  try {
    return await runCase(one);
  } catch (error) {
    if (!(error instanceof Error)) return [String(error)];
    return ['details' in error ? error.message : (error.stack ?? error.message)];
  }
}
