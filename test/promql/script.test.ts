/** Cases in Prometheus' test language: our own always, and the corpus of the folder that TIDEGAUGE_CONFORMANCE names. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { FUNCTIONS } from '../../src/promql/functions/table.ts';
import { children, type Expr } from '../../src/promql/syntax/ast.ts';
import { tryParseExpr } from '../../src/promql/syntax/parse.ts';
import { KEYWORDS } from '../../src/promql/syntax/tokens.ts';
import { runFile, scriptFiles } from './conformance.ts';
import { runParseCases } from './parse-cases.ts';
import { parseScript } from './script.ts';
import { newKernelHead, newPlainHead } from './script-runner.ts';

const OWN = join(dirname(fileURLToPath(import.meta.url)), 'testdata');
const CONFORMANCE = process.env.TIDEGAUGE_CONFORMANCE;
const CORPUS = CONFORMANCE === undefined ? null : join(CONFORMANCE, 'promql');

for (const file of scriptFiles([OWN])) {
  test(`own cases: ${file.slice(OWN.length + 1)}`, async (t) => {
    for (const result of await runFile(file))
      t.equal(result.outcome, 'passed', `line ${result.line}: ${result.expr}: ${result.reason}`);
  });
}

test('own cases call every function, aggregation and operator', async (t) => {
  const seen = new Set<string>();
  for (const file of scriptFiles([OWN])) {
    for (const command of parseScript(readFileSync(file, 'utf8')))
      if (command.kind === 'eval') note(command.expr, seen);
  }
  for (const name of FUNCTIONS.keys()) t.ok(seen.has(name), `${name}() has a case`);
  for (const [word, type] of KEYWORDS) if (type.name === 'Aggregator') t.ok(seen.has(word), `${word} has a case`);
  for (const op of '+ - * / % ^ atan2 == != < <= > >= and or unless </ >/'.split(' '))
    t.ok(seen.has(op), `${op} has a case`);
});

function note(text: string, seen: Set<string>): void {
  const features = {
    experimentalFunctions: true,
    durationExpressions: true,
    extendedRangeSelectors: true,
    fillModifiers: true,
  };
  const { node } = tryParseExpr(text, { features, depthMax: 128 });
  const walk = (expr: Expr): void => {
    if (expr.kind === 'call') seen.add(expr.name);
    if (expr.kind === 'aggregate' || expr.kind === 'binary') seen.add(expr.op);
    for (const child of children(expr)) walk(child);
  };
  if (node !== null) walk(node);
}

if (CORPUS === null || !existsSync(CORPUS)) {
  test('corpus', { skip: 'TIDEGAUGE_CONFORMANCE names no folder with it' }, async () => {});
} else {
  for (const [store, newHead] of [
    ['the kernel', newKernelHead],
    ['the plain model', newPlainHead],
  ] as const) {
    test(`corpus: evaluations over ${store}`, async (t) => {
      let passed = 0;
      for (const file of scriptFiles([CORPUS])) {
        for (const { outcome, reason, line, expr } of await runFile(file, newHead)) {
          if (outcome === 'passed') passed++;
          else t.fail(`${file}:${line}: ${expr}: ${reason}`);
        }
      }
      t.ok(passed > 0, `${passed} cases passed`);
    });
  }

  test('corpus: parser', async (t) => {
    let passed = 0;
    for (const { outcome, reason, case: one } of runParseCases(join(CORPUS, 'parse-cases.json'))) {
      if (outcome === 'passed') passed++;
      else t.fail(`${one.group} ${one.id}: ${one.input}: ${reason}`);
    }
    t.ok(passed > 0, `${passed} cases passed`);
  });
}
