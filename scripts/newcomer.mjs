/**
 * A newcomer's first minutes: a fresh clone, an empty npm cache, and the commands of docs/quickstart.md one after the other, until
 * the daemon says why. Fails if that takes more than three minutes. Only addresses are changed, so that nobody is in the way.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './lib/setup.mjs';

const SECONDS_MAX = 180;
const WHY = /wants ceil\(65 \/ 20\) = 4/;

const folder = mkdtempSync(join(tmpdir(), 'tidegauge-newcomer-'));
const startedMs = performance.now();
let shell = null;
process.once('exit', () => {
  // The daemon that the commands started is in the shell's group.
  if (shell !== null) {
    try {
      process.kill(-shell.pid, 'SIGKILL');
    } catch {
      // It is gone.
    }
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const clone = join(folder, 'tidegauge');
const cloned = spawnSync('git', ['clone', '--quiet', '--depth=1', `file://${root}`, clone], { stdio: 'inherit' });
if (cloned.status !== 0) fail('git clone failed');
const address = `127.0.0.1:${await freePort()}`;
const [, commands] = /Then by hand[\s\S]*?```\n([\s\S]*?)```/.exec(
  readFileSync(join(clone, 'docs/quickstart.md'), 'utf8'),
);
shell = spawn('bash', ['-c', commands.replaceAll('127.0.0.1:9090', address)], {
  cwd: clone,
  detached: true,
  stdio: ['ignore', 'pipe', 'inherit'],
  env: {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    npm_config_cache: join(folder, 'cache'),
    TIDEGAUGE_WEB_LISTEN_ADDRESS: address,
    TIDEGAUGE_OTLP_GRPC_LISTEN_ADDRESS: '127.0.0.1:0',
    TIDEGAUGE_OTLP_HTTP_LISTEN_ADDRESS: '127.0.0.1:0',
    TIDEGAUGE_KEDA_LISTEN_ADDRESS: '127.0.0.1:0',
    TIDEGAUGE_KUBERNETES_LISTEN_ADDRESS: '127.0.0.1:0',
  },
});
const timer = setTimeout(() => fail(`no answer after ${SECONDS_MAX} s`), SECONDS_MAX * 1000);
let output = '';
shell.stdout.setEncoding('utf8').on('data', (text) => {
  output += text;
  if (!WHY.test(output)) return;
  clearTimeout(timer);
  console.log(`from git clone to a why in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
  process.exit(0);
});
shell.once('exit', (code) => fail(`the commands ended (${code}) without a why:\n${output}`));

function fail(message) {
  console.error(message);
  process.exit(1);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
