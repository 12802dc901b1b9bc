/** Runs test scripts from the command line: files or folders in, failing cases and a count out (see scripts/conformance-promql.mjs). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type CaseResult, type NewHead, newKernelHead, ScriptRunner } from './script-runner.ts';

export function scriptFiles(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path)
      .filter((name) => name.endsWith('.test'))
      .sort()
      .map((name) => join(path, name));
  });
}

/** Over the real store, unless told otherwise. */
export async function runFile(path: string, newHead: NewHead = newKernelHead): Promise<readonly CaseResult[]> {
  return new ScriptRunner(path, newHead).run(readFileSync(path, 'utf8'));
}

/** Prints what failed; returns the exit status. */
export async function main(paths: readonly string[]): Promise<number> {
  let passed = 0;
  let failed = 0;
  for (const path of scriptFiles(paths)) {
    const counts = { passed: 0, failed: 0 };
    for (const result of await runFile(path)) {
      counts[result.outcome]++;
      if (result.outcome === 'failed')
        console.log(`FAIL ${result.file}:${result.line}: ${result.expr}\n     ${result.reason}`);
    }
    console.log(`${path}: ${counts.passed} passed, ${counts.failed} failed`);
    passed += counts.passed;
    failed += counts.failed;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
