/**
 * Clients that mean no good: thousands of slow connections, and bytes without sense on every port. The daemon lives, answers
 * others meanwhile, and is left with nothing of them. Seeds are printed; TIDEGAUGE_FAULT_SEED replays one.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { test } from 'tap';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { frame, headers, PREFACE } from '../support/raw-http2.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { waitFor } from '../support/wait.ts';
import { isLong, mib, openFiles, openFilesMax, push, residentBytes } from './process.ts';
import { randomOf } from './site.ts';

const CONNECTIONS = isLong ? 10_000 : 500;
/** The daemon's own files, and the other side of each connection is a file of the test's. */
const SPARE_FILES = 500;
const noRoom =
  openFilesMax() < CONNECTIONS + SPARE_FILES &&
  `at most ${openFilesMax()} open files, want ${CONNECTIONS + SPARE_FILES}`;

test('slow connections by the thousand: others are served, and all of them are let go', { skip: noRoom }, async (t) => {
  const room = [`--web.max-connections=${2 * CONNECTIONS}`, `--web.max-connections-per-address=${2 * CONNECTIONS}`];
  const daemon = await startDaemon(room);
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  const beforeBytes = residentBytes(daemon);
  const [host, port] = web.split(':');
  const sockets: Socket[] = [];
  let open = 0;
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = connect({ host: host!, port: Number(port) });
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    socket.once('connect', () => {
      open++;
      if (i % 3 === 0) socket.write('POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\nx');
      else if (i % 3 === 1) socket.write('GET /api/v1/query?query=');
    });
    socket.once('close', () => open--);
    sockets.push(socket);
    if (i % 200 === 199) await pause(1);
  }
  const most = await waitFor(() => open > CONNECTIONS * 0.5 && open, {
    timeoutMs: 20_000,
    what: 'half of them to be there',
  });
  const beganMs = performance.now();
  t.equal((await fetch(`http://${web}/-/healthy`)).status, 200);
  t.equal(await push(web, [{ labels: { __name__: 'm' }, value: 1 }]), 204);
  const servedMs = performance.now() - beganMs;
  const grown = residentBytes(daemon) - beforeBytes;
  t.ok(grown < 64 * 2 ** 20 * Math.max(1, CONNECTIONS / 10_000), `${most} of them cost ${mib(grown)}`);
  await waitFor(() => open === 0, { timeoutMs: 60_000, what: 'all of them to be let go' });
  await waitFor(() => openFiles(daemon) < 60, { timeoutMs: 10_000, what: 'their files to be closed' });
  for (const socket of sockets) socket.destroy();
  t.comment(`${CONNECTIONS} slow connections: ${mib(grown)}, others served in ${Math.round(servedMs)} ms meanwhile`);
});

/** Bytes that are nothing, or nearly something. */
function garbage(random: (below: number) => number): Buffer {
  const noise = Buffer.from(Array.from({ length: 1 + random(2000) }, () => random(256)));
  const body = Buffer.from(
    encodeWriteRequest([{ labels: { __name__: 'g' }, samples: [{ timestampMs: 1, value: 1 }] }]),
  );
  const head = (path: string, length: number): Buffer =>
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\nContent-Type: application/x-protobuf\r\n\r\n`,
    );
  const call = headers({
    ':method': 'POST',
    ':path': '/externalscaler.ExternalScaler/IsActive',
    'content-type': 'application/grpc',
  });
  const sound: readonly Buffer[] = [
    Buffer.concat([head('/api/v1/write', body.length), body]),
    Buffer.concat([head('/v1/metrics', noise.length), noise]),
    Buffer.concat([
      Buffer.from(PREFACE),
      frame(4, 0, 0),
      frame(1, 4, 1, call),
      frame(0, 1, 1, Buffer.concat([Buffer.alloc(5), noise])),
    ]),
    Buffer.from('GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\n\r\n'),
    Buffer.from('\x16\x03\x01\x00\x05hello', 'latin1'),
    noise,
  ];
  const bytes = Buffer.from(sound[random(sound.length)]!);
  for (let flips = random(6); flips > 0; flips--) bytes[random(bytes.length)] = random(256);
  return random(4) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
}

async function throwAt(address: string, bytes: Buffer, overTls: boolean, ends: boolean): Promise<void> {
  const [host, port] = address.split(':');
  const at = { host: host!, port: Number(port) };
  const socket = overTls ? connectTls({ ...at, rejectUnauthorized: false }) : connect(at);
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => undefined);
  socket.on('data', () => undefined);
  socket.once(overTls ? 'secureConnect' : 'connect', () => {
    if (ends) socket.end(bytes);
    else socket.write(bytes);
  });
  const late = setTimeout(() => socket.destroy(), ends ? 5000 : 300);
  await gone;
  clearTimeout(late);
}

const addressesOf = ({ listen }: Daemon): readonly (readonly [string, boolean])[] => [
  [listen.web, false],
  [listen.otlpHttp, false],
  [listen.otlpGrpc, false],
  [listen.keda, false],
  [listen.kubernetes, false],
  [listen.kubernetes, true],
];

test('garbage on every port: the daemon lives, answers, and keeps nothing of it', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web } = daemon.listen;
  t.equal(await push(web, [{ labels: { __name__: 'mine' }, value: 7 }]), 204);
  const seedOf = process.env.TIDEGAUGE_FAULT_SEED;
  const first = seedOf === undefined ? Date.now() % 1_000_000 : Number(seedOf);
  t.comment(`seeds from TIDEGAUGE_FAULT_SEED=${first}`);
  const files = openFiles(daemon);
  const rounds = seedOf !== undefined ? 1 : isLong ? 400 : 12;
  for (let seed = first; seed < first + rounds; seed++) {
    const random = randomOf(seed);
    await Promise.all(
      addressesOf(daemon).flatMap(([address, overTls]) =>
        Array.from({ length: 4 }, () => throwAt(address, garbage(random), overTls, random(2) === 0)),
      ),
    );
    if (daemon.ended()) return void t.fail(`seed ${seed}: the daemon ended\n${daemon.output().slice(-2000)}`);
  }
  t.equal((await fetch(`http://${web}/-/healthy`)).status, 200);
  t.notOk(
    daemon.logs().some(({ level }) => level === 'fatal' || level === 'error' || level === 50 || level === 60),
    'nothing of it is a fault of the daemon',
  );
  await waitFor(() => openFiles(daemon) <= files + 8, { timeoutMs: 15_000, what: 'connections to be closed' });
  t.equal(await push(web, [{ labels: { __name__: 'mine' }, value: 8 }], Date.now()), 204);
});
