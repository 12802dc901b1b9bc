/** Runs files of the Kubernetes corpora from the command line (see scripts/conformance-kubernetes.mjs). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type AdapterFile, runAdapterRules } from './adapter-cases.ts';
import { type ApiFile, runApiCases } from './api-cases.ts';
import { type HpaFile, runHpaVectors } from './hpa-vectors.ts';
import type { CaseResult } from './result.ts';
import { type QuantityFile, runQuantities, runSelectors, type SelectorFile } from './text-cases.ts';

export function caseFiles(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => name.endsWith('.json'));
    return names.sort().map((name) => join(path, name));
  });
}

/** What kind of file it is shows in its fields. */
export async function runFile(path: string): Promise<readonly CaseResult[]> {
  const file = JSON.parse(readFileSync(path, 'utf8')) as object;
  if ('identities' in file) return runApiCases(file as ApiFile);
  if ('selectors' in file) return runSelectors(file as SelectorFile);
  if ('format' in file) return runQuantities(file as QuantityFile);
  if ('timeline' in file) return runHpaVectors(file as unknown as HpaFile);
  if ('cases' in file) return runAdapterRules(file as AdapterFile);
  throw new Error(`cannot run ${path}: it is in none of the known forms`);
}

/** Prints what failed; returns the exit status. */
export async function main(paths: readonly string[]): Promise<number> {
  let passed = 0;
  let failed = 0;
  for (const path of caseFiles(paths)) {
    for (const { id, fault } of await runFile(path)) {
      if (fault === null) passed++;
      else {
        failed++;
        console.log(`FAIL ${path}: ${id}\n     ${fault}`);
      }
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
