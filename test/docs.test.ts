/**
 * What the documents list is compared with the code: errors, limits and own metrics. `TIDEGAUGE_UPDATE_DOCS=1` writes
 * the tables of errors and metrics again instead of comparing them (limits carry words of their own).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { ERRORS } from '../src/model/errors.ts';
import { LIMITS } from '../src/model/limits.ts';
import { startDaemon } from './support/daemon.ts';

const docs = join(dirname(fileURLToPath(import.meta.url)), '..', 'docs');
const UPDATE = process.env.TIDEGAUGE_UPDATE_DOCS === '1';

/** Rows of the only table of a document, without its head; cells trimmed. */
function tableOf(name: string): string[][] {
  const lines = readFileSync(join(docs, name), 'utf8').split('\n');
  const rows = lines.filter((line) => line.startsWith('|')).slice(2);
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  );
}

function rewrite(name: string, rows: readonly (readonly string[])[]): void {
  const lines = readFileSync(join(docs, name), 'utf8').split('\n');
  const head = lines.slice(0, lines.findIndex((line) => line.startsWith('|-')) + 1);
  writeFileSync(join(docs, name), `${[...head, ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n')}\n`);
}

test('docs/errors.md lists every code with its statuses and meaning', async (t) => {
  const rows = Object.entries(ERRORS).map(([code, { http, grpc, meaning }]) => [
    `\`${code}\``,
    `${http}`,
    `${grpc}`,
    meaning,
  ]);
  if (UPDATE) rewrite('errors.md', rows);
  t.strictSame(tableOf('errors.md'), rows);
});

test('docs/limits.md lists every limit with its value and a meaning', async (t) => {
  const rows = tableOf('limits.md');
  t.strictSame(
    rows.map(([name, value]) => [name, value]),
    Object.entries(LIMITS).map(([name, value]) => [`\`${name}\``, `${value}`]),
  );
  for (const [name, , meaning] of rows) t.ok((meaning ?? '').length > 10, `${name} says what it limits`);
});

test('docs/metrics.md lists what the daemon exposes', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const text = await (await fetch(`http://${daemon.listen.web}/metrics`)).text();
  const help = new Map([...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map((match) => [match[1]!, match[2]!]));
  const rows = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => {
    return [`\`${match[1]}\``, match[2]!, help.get(match[1]!)!.replaceAll('|', '\\|')];
  });
  if (UPDATE) rewrite('metrics.md', rows);
  t.strictSame(tableOf('metrics.md'), rows);
});
