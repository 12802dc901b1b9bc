/** Holds the floors: who may import whom. Data flows one way; a floor imports only what stands below it. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const src = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');

/** Floor → floors that it may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  model: [],
  config: ['model'],
  telemetry: ['model'],
  tsdb: ['model', 'telemetry'],
  ingest: ['model', 'telemetry', 'tsdb'],
  promql: ['model', 'telemetry', 'tsdb'],
  scaling: ['model', 'telemetry', 'tsdb', 'promql'],
  api: ['model', 'telemetry'],
  'api/prometheus': ['model', 'telemetry', 'tsdb', 'promql', 'api'],
  // A protocol that two surfaces speak, and no surface itself.
  'api/grpc': ['model', 'telemetry', 'api'],
  'api/push': ['model', 'telemetry', 'ingest', 'api', 'api/grpc'],
  'api/keda': ['model', 'telemetry', 'promql', 'scaling', 'api', 'api/grpc'],
  'api/kubernetes': ['model', 'telemetry', 'promql', 'scaling', 'api'],
  'api/scale': ['model', 'telemetry', 'promql', 'scaling', 'api'],
  'api/ops': ['model', 'telemetry', 'api'],
  'api/ui': ['model', 'telemetry', 'scaling', 'api'],
  cli: ['model', 'config', 'promql', 'scaling', 'api/keda', 'api/kubernetes'],
  'disk.ts': ['tsdb'],
  'background-threads.ts': [],
  'garbage.ts': ['tsdb'],
  'folder-lock.ts': [],
  'replica.ts': ['model'],
  'doors.ts': ['model', 'config', 'telemetry', 'api'],
  'durability.ts': [
    'model',
    'config',
    'telemetry',
    'tsdb',
    'ingest',
    'disk.ts',
    'folder-lock.ts',
    'garbage.ts',
    'replica.ts',
  ],
  // Beside main: who scrapes asks the network, and the API server with the client that is there for it.
  scrape: ['model', 'config', 'telemetry', 'tsdb', 'ingest', 'api/kubernetes'],
  'main.ts': [
    'background-threads.ts',
    'doors.ts',
    'durability.ts',
    'scrape',
    'model',
    'config',
    'telemetry',
    'tsdb',
    'ingest',
    'promql',
    'scaling',
    'api',
    'api/prometheus',
    'api/push',
    'api/keda',
    'api/kubernetes',
    'api/scale',
    'api/ops',
    'api/ui',
    'cli',
  ],
};

/** What nothing below `api/` may touch: the outside world is handed in. */
const WORLD =
  /\bDate\.now\(|\bMath\.random\(|\bsetTimeout\(|\bsetInterval\(|\bprocess\.env\b|from 'node:(?:fs|net|http|https|http2|dgram)'/;
const WORLDLESS = ['tsdb', 'ingest', 'promql', 'scaling'];

test('a floor imports only what stands below it', async (t) => {
  for (const file of sources(src)) {
    const from = floorOf(file);
    const allowed = MAY_IMPORT[from];
    if (!t.ok(allowed, `${file} stands on a known floor (${from})`)) continue;
    for (const to of importsOf(file)) {
      if (floorOf(to) !== from) t.ok(allowed!.includes(floorOf(to)), `${file} may import ${to}`);
    }
  }
});

test('below api/ the clock, randomness, timers, environment and files are handed in', async (t) => {
  for (const file of sources(src)) {
    if (!WORLDLESS.includes(floorOf(file))) continue;
    const found = WORLD.exec(readFileSync(join(src, file), 'utf8'));
    t.equal(found?.[0] ?? null, null, `${file} reaches for nothing outside`);
  }
});

test('the rule itself can fail', async (t) => {
  t.equal(floorOf('api/keda/server.ts'), 'api/keda');
  t.equal(floorOf('tsdb/kernel/kernel.ts'), 'tsdb');
  t.ok(WORLD.test('const now = Date.now();'));
  t.notOk(MAY_IMPORT.tsdb!.includes('promql'));
});

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('assembly/') && !name.includes('generated/'))
    .sort();
}

function floorOf(file: string): string {
  const parts = file.split('/');
  // Files directly in api/ are what the surfaces share.
  if (parts[0] === 'api') return parts.length === 2 ? 'api' : `api/${parts[1]}`;
  return parts[0]!;
}

/** Files below src/ that a file imports, types included. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8');
  const found = [...text.matchAll(/(?:from|import) '(\.[^']+)'/g)].map((match) => match[1]!);
  return found.map((specifier) => relative(src, join(src, dirname(file), specifier)));
}
