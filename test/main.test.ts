/** The command line of the built daemon: what it prints, what it refuses, how fast it is ready, how it stops. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { startDaemon } from './support/daemon.ts';
import { runProgram } from './support/process.ts';

const ENTRY = fileURLToPath(new URL('../dist/main.js', import.meta.url));
/**
 * Alone on its machine the daemon is ready within 500 ms (bench/ measures it). Beside other tests the same start costs up to
 * twice that, so this bound only catches a start that has become another kind of thing.
 */
const READY_CPU_MS_MAX = 2000;

const tidegauge = (...args: string[]) => runProgram(process.execPath, [ENTRY, ...args]);

test('help, version and the check of a configuration print and end with 0', async (t) => {
  const f = async (args: string[], want: RegExp) => {
    const { code, stdout } = await tidegauge(...args);
    t.equal(code, 0, args.join(' '));
    t.match(stdout, want);
  };
  await f(['--help'], /--web\.listen-address=<address>[\s\S]*TIDEGAUGE_WEB_LISTEN_ADDRESS/);
  await f(['--version'], /^tidegauge \d+\.\d+\.\d+\n$/);
  await f(['--check-config'], /can be used/);
  await f(
    ['serve', '--check-config', `--config.file=${join(ENTRY, '../../examples/tour/tidegauge.yaml')}`],
    /can be used/,
  );
});

test('what cannot be used ends with 1 and says why', async (t) => {
  const f = async (args: string[], want: RegExp) => {
    const { code, stderr } = await tidegauge(...args);
    t.equal(code, 1, args.join(' '));
    t.match(stderr, want);
  };
  await f(['--web.listen-adress=127.0.0.1:0'], /nearest known flag is --web\.listen-address/);
  await f(['--config.file=/does/not/exist'], /\/does\/not\/exist/);
  await f(['sing'], /sing/);
});

test('a storage path that cannot be made ends the daemon with 1', async (t) => {
  const { code, stdout } = await tidegauge('serve', '--storage.path=/dev/null/store', '--log.format=json');
  t.equal(code, 1);
  t.match(stdout, /"msg":"cannot open \/dev\/null\/store: /);
});

test('an address in use ends the daemon with 1', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { code, stdout } = await tidegauge('serve', `--web.listen-address=${daemon.listen.web}`, '--log.format=json');
  t.equal(code, 1);
  t.match(stdout, /"msg":"cannot start: [^"]*EADDRINUSE/);
});

test('a surface can be off, and the daemon is ready fast and stops with 0', async (t) => {
  const daemon = await startDaemon(['--otlp.grpc.listen-address=off']);
  t.teardown(() => daemon.stop());
  t.notOk('otlpGrpc' in daemon.listen);
  // CPU time, because it is what a start costs however busy the machine is; alone, the wall clock says less.
  const text = await (await fetch(`http://${daemon.listen.web}/metrics`)).text();
  const cpuMs = 1000 * Number(/^process_cpu_seconds_total (.*)$/m.exec(text)![1]);
  t.ok(cpuMs <= READY_CPU_MS_MAX, `${cpuMs} ms of CPU until ready and a first reply`);
  t.equal(await daemon.stop(), 0);
});
