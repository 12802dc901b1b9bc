/**
 * Ten minutes of samples for trying an example, as if a sender had been there all the time:
 *
 *   node examples/load.mjs examples/gpu-nodes/load.txt [--url=http://127.0.0.1:9090]
 *
 * A line of the file is a series and its value, or `+` and how much a counter grows in a second.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const SECONDS = 600;
const STEP_SECONDS = 15;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { url: { type: 'string', default: 'http://127.0.0.1:9090' } },
});
const series = readFileSync(positionals[0], 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => /^(.*\S) +(\+?)(\S+)$/.exec(line).slice(1));
const nowMs = Date.now();
const lines = [];
for (let at = 0; at <= SECONDS; at += STEP_SECONDS) {
  for (const [name, grows, value] of series)
    lines.push(`${name} ${grows ? Number(value) * at : value} ${nowMs - (SECONDS - at) * 1000}`);
}
const reply = await fetch(`${values.url}/api/v1/import/prometheus`, { method: 'POST', body: `${lines.join('\n')}\n` });
if (!reply.ok) throw new Error(`cannot send: ${reply.status} ${await reply.text()}`);
console.log(`sent ${lines.length} samples of ${series.length} series`);
