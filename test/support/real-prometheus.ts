/**
 * A real Prometheus 3 that takes remote-write. The program: TIDEGAUGE_PROMETHEUS, else what `npm run bench:peers` has unpacked,
 * else `prometheus` on PATH if it is new enough (`bench/peers/get-peers FOLDER prometheus` unpacks one).
 */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Running, runProgram, startProgram, waitForOutput } from './process.ts';
import { findProgram } from './real-programs.ts';
import { waitFor } from './wait.ts';

const UNPACKED = fileURLToPath(new URL('../../.bench/peers/prometheus/usr/bin/prometheus', import.meta.url));

async function isNewEnough(program: string): Promise<boolean> {
  const { stdout, stderr } = await runProgram(program, ['--version']);
  return /version 3\./.test(stdout + stderr);
}

/** Null if there is none, unless programs are required. */
export async function findPrometheus3(): Promise<string | null> {
  const candidates = [process.env.TIDEGAUGE_PROMETHEUS ?? '', UNPACKED, findProgram('prometheus') ?? ''];
  for (const path of candidates) if (path !== '' && existsSync(path) && (await isNewEnough(path))) return path;
  if (process.env.TIDEGAUGE_REQUIRE_PROGRAMS === '1')
    throw new Error('cannot compare with Prometheus: none of version 3 is there, see bench/peers/get-peers');
  return null;
}

/** On a free port, with a store in the folder. */
export async function startPrometheus(program: string, folder: string): Promise<{ running: Running; web: string }> {
  const configFile = join(folder, 'prometheus.yml');
  await writeFile(configFile, '{}\n');
  const running = await startProgram(program, [
    `--config.file=${configFile}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    '--web.enable-remote-write-receiver',
    '--web.listen-address=127.0.0.1:0',
  ]);
  const [, web] = await waitForOutput(running, /msg="Listening on".*? address=(\S+)/, 60_000);
  await waitFor(async () => (await fetch(`http://${web}/-/ready`)).ok, { timeoutMs: 60_000, what: 'it to be ready' });
  return { running, web: web! };
}

/** Sends a remote-write 1.0 body to `host:port`. */
export async function push(web: string, body: Uint8Array): Promise<void> {
  const headers = { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' };
  const response = await fetch(`http://${web}/api/v1/write`, {
    method: 'POST',
    body: Buffer.from(body),
    headers: { ...headers, 'x-prometheus-remote-write-version': '0.1.0' },
  });
  if (!response.ok) throw new Error(`cannot push: got ${response.status} ${await response.text()}`);
}
