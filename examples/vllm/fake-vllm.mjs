/**
 * vLLM without a GPU: its metrics under a load that can be replayed.
 *
 *   node examples/vllm/fake-vllm.mjs [--port=8000] [--load=file.json] [--replicas=1] [--push=http://127.0.0.1:9090]
 *
 * Serves /metrics for whoever scrapes, and with --push also sends it there each second, to /api/v1/import/prometheus.
 * The load is `[[seconds, requests a second], …]`; by default it doubles what one replica can take within a minute.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { Fleet, REPLICA_RATE, rateAt } from './fleet.mjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8000' },
    load: { type: 'string' },
    replicas: { type: 'string', default: '1' },
    push: { type: 'string' },
  },
});
const load =
  values.load === undefined
    ? [
        [0, REPLICA_RATE / 2],
        [60, REPLICA_RATE * 2],
        [120, REPLICA_RATE * 2],
        [180, REPLICA_RATE / 2],
      ]
    : JSON.parse(readFileSync(values.load, 'utf8'));
const fleet = new Fleet({ replicas: Number(values.replicas) });
let seconds = 0;

async function tick() {
  fleet.advance(1, rateAt(load, seconds));
  seconds += 1;
  if (values.push === undefined) return;
  const reply = await fetch(`${values.push}/api/v1/import/prometheus`, { method: 'POST', body: fleet.expose() });
  if (!reply.ok) console.error(`cannot push: ${reply.status} ${await reply.text()}`);
}

const server = createServer((request, reply) => {
  if (request.url === '/metrics')
    reply.setHeader('content-type', 'text/plain; version=0.0.4').end(fleet.exposeServer());
  else reply.writeHead(404).end();
});
server.listen(Number(values.port), '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
setInterval(() => tick().catch((error) => console.error(`cannot push: ${error.message}`)), 1000);
