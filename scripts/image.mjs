/**
 * `npm run image`: the image without a container engine. What the Dockerfile says is done in clean folders, from a fresh clone of
 * what is committed: built twice, to see that it comes out the same; put on the packages that distroless is made of; weighed; and
 * started as the Dockerfile says, with a root that nobody can write, without rights, in a network of its own, as user 65532.
 *
 * Not the base itself: that is in a registry of images. In its place stand Debian's packages of the same names and the same
 * release of Node, so the size is that of the parts, and the digest of the base says nothing about the real one's.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { filesIn, parseDockerfile, runStage, settingsOf } from './lib/dockerfile.mjs';
import { root } from './lib/setup.mjs';

const MEGABYTES_MAX = 80;
/** What gcr.io/distroless/cc-debian12 and so its Node images consist of, beside Node. */
const BASE_PACKAGES = [
  ...['base-files', 'netbase', 'tzdata', 'media-types', 'ca-certificates', 'libc6', 'libssl3'],
  ...['gcc-12-base', 'libgcc-s1', 'libgomp1', 'libstdc++6'],
];
const PROGRAMS = ['apt-get', 'chroot', 'dpkg', 'ip', 'mount', 'nsenter', 'setpriv', 'tar', 'unshare'];
const START_MS_MAX = 60_000;

const folder = mkdtempSync(join(tmpdir(), 'tidegauge-image-'));
let container = null;
process.once('exit', () => {
  container?.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const [buildStage, finalStage] = parseDockerfile(readFileSync(join(root, 'Dockerfile'), 'utf8'));
const nodeMajor = /node:(\d+)/.exec(buildStage.from)[1];
check(finalStage.from.includes(`nodejs${nodeMajor}-`), 'both stages have the same Node');
const node = fetchNode();
const first = buildOnce('first');
const second = buildOnce('second');
check(first.digest === second.digest, `two clones come out the same: sha256:${first.digest}`);
const missing = PROGRAMS.filter((name) => run('sh', ['-c', `command -v ${name}`], { mayFail: true }).status !== 0);
if (process.getuid?.() === 0 && missing.length === 0) {
  assemble();
  weigh();
  run('cp', ['-a', `${first.imageRoot}/.`, join(folder, 'base')]);
  await start();
} else {
  const reason =
    missing.length > 0 ? `not installed: ${missing.join(', ')}` : 'only root can give it a root and a user of its own';
  if (process.env.TIDEGAUGE_REQUIRE_PROGRAMS === '1') throw new Error(`cannot start it: ${reason}`);
  console.log(`not weighed and not started: ${reason}`);
}

/** The binary that nodejs.org gives to npm's package and to the images alike. */
function fetchNode() {
  const packageName = `node-linux-${process.arch}`;
  run('npm', ['install', '--silent', '--no-save', '--prefix', join(folder, 'node'), `${packageName}@${nodeMajor}`]);
  return join(folder, 'node/node_modules', packageName, 'bin/node');
}

/** The first stage, and what the second takes of it. */
function buildOnce(name) {
  const context = join(folder, name, 'context');
  const stageRoot = join(folder, name, 'build');
  run('git', ['clone', '--quiet', '--depth=1', `file://${root}`, context]);
  const startedMs = performance.now();
  runStage(buildStage, {
    root: stageRoot,
    context,
    env: {
      ...networkOf(process.env),
      PATH: `${join(node, '..')}:${process.env.PATH}`,
      HOME: join(folder, 'home'),
      npm_config_cache: join(folder, 'cache'),
    },
  });
  const imageRoot = join(folder, name, 'image');
  runStage(finalStage, { root: imageRoot, context, roots: { [buildStage.name]: stageRoot } });
  const files = filesIn(imageRoot);
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(imageRoot, file)));
  console.log(`built ${files.length} files in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
  return { digest: hash.digest('hex'), imageRoot };
}

/** How a machine reaches its registry is not the image's business, but npm has to know. */
function networkOf(env) {
  const names = Object.keys(env).filter((name) =>
    /^(?:https?_proxy|no_proxy|NODE_EXTRA_CA_CERTS|npm_config_registry|npm_config_cafile)$/i.test(name),
  );
  return Object.fromEntries(names.map((name) => [name, env[name]]));
}

/** The base below `first.imageRoot`, where the last stage already put its files. */
function assemble() {
  const base = join(folder, 'base');
  const debs = join(folder, 'debs');
  mkdirSync(debs);
  run('apt-get', ['-qq', 'download', ...BASE_PACKAGES], { cwd: debs });
  for (const deb of readdirSync(debs)) run('dpkg', ['-x', join(debs, deb), base]);
  mkdirSync(join(base, 'nodejs/bin'), { recursive: true });
  copyFileSync(node, join(base, 'nodejs/bin/node'));
  chmodSync(join(base, 'nodejs/bin/node'), 0o755);
  writeFileSync(
    join(base, 'etc/passwd'),
    'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n',
  );
  for (const name of ['proc', 'dev', 'tmp', 'data']) mkdirSync(join(base, name), { recursive: true });
  for (const name of ['null', 'urandom']) writeFileSync(join(base, 'dev', name), '');
}

/** Both layers as a registry holds them. */
function weigh() {
  const layer = (path) => {
    const file = join(folder, 'layer.tar.gz');
    run('sh', [
      '-c',
      `tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C '${path}' -c . | gzip -n -6 >'${file}'`,
    ]);
    return {
      megabytes: statSync(file).size / 1e6,
      digest: createHash('sha256').update(readFileSync(file)).digest('hex'),
    };
  };
  const base = layer(join(folder, 'base'));
  const own = [first, second].map(({ imageRoot }) => layer(imageRoot));
  check(
    own[0].digest === own[1].digest,
    `our layer: ${own[0].megabytes.toFixed(1)} MB compressed, sha256:${own[0].digest}`,
  );
  const total = base.megabytes + own[0].megabytes;
  check(
    total <= MEGABYTES_MAX,
    `with the parts of its base ${total.toFixed(1)} MB compressed, at most ${MEGABYTES_MAX}`,
  );
}

/** Twice: as it is, and with a volume, over a restart. */
async function start() {
  const settings = settingsOf(finalStage);
  const ports = settings.ports.filter((port) => port !== 6443);
  const plain = await launch(settings, []);
  for (const port of ports) check(connects(port), `port ${port} is open`);
  check(takesSample(), 'a sample comes in, and out');
  await stop(plain);

  const volume = ['--storage.path=/data'];
  const writing = await launch(settings, volume);
  check(takesSample(), 'with a volume, too');
  await stop(writing);
  check(filesIn(join(folder, 'volume')).length > 0, 'it wrote to the volume');
  const again = await launch(settings, volume);
  check(answers(), 'and what it wrote is there after a restart');
  await stop(again);
}

/** Starts it and waits until it says that it is ready. */
async function launch({ user, workdir, env, command }, more) {
  const [uid, gid] = user.split(':').map(Number);
  const rootFolder = join(folder, 'base');
  const volume = join(folder, 'volume');
  if (!existsSync(volume)) mkdirSync(volume);
  run('chown', [`${uid}:${gid}`, volume]);
  const inside = [
    'set -e; mount --make-rprivate /; ip link set lo up',
    `mount --bind '${rootFolder}' '${rootFolder}'`,
    `mount --bind '${volume}' '${rootFolder}/data'`,
    `mount -t proc proc '${rootFolder}/proc'`,
    `for one in null urandom; do mount --bind /dev/$one '${rootFolder}/dev/'$one; done`,
    `mount -o remount,ro,bind '${rootFolder}'`,
    `cd '${rootFolder}'`,
    `exec setpriv --no-new-privs chroot --userspec=${uid}:${gid} --groups=${gid} . "$@"`,
  ].join('\n');
  container = spawn(
    'unshare',
    [
      '--mount',
      '--net',
      '--ipc',
      '--uts',
      '--pid',
      '--fork',
      '--kill-child',
      'sh',
      '-c',
      inside,
      'sh',
      ...command,
      ...more,
    ],
    { env: { PATH: process.env.PATH, ...env, PWD: workdir }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [container.stdout, container.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const started = performance.now();
  while (!/"event":"ready"/.test(output)) {
    if (container.exitCode !== null || performance.now() - started > START_MS_MAX)
      throw new Error(`it is not ready: ${output}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const pid = daemonPid(container.pid);
  look(pid, uid);
  return { child: container, pid };
}

/** The only child of unshare is the daemon: each program on the way put the next in its own place. */
function daemonPid(pid) {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
}

/** Who it is and what it may, as the kernel sees it. */
function look(pid, uid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)[1].split('\t');
  check(
    field('Uid').every((id) => Number(id) === uid),
    `it runs as ${uid}`,
  );
  check(/^0+$/.test(field('CapEff')[0]) && field('NoNewPrivs')[0] === '1', 'without capabilities, and cannot get any');
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  const writable = mounts
    .filter(([, , , , at, options]) => /^\/(?:$|data|tmp)/.test(at) && /^rw/.test(options))
    .map((one) => one[4]);
  check(writable.join() === '/data', 'its root is read-only; only the volume can be written');
}

async function stop({ child, pid }) {
  process.kill(pid, 'SIGTERM');
  if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve));
  check(child.exitCode === 0, 'it stops when asked to');
  container = null;
}

/** Runs a module in the network of the daemon. It has three seconds. */
function there(code) {
  const flags = [`--target=${daemonPid(container.pid)}`, '--net', process.execPath, '--input-type=module', '-e', code];
  return run('nsenter', flags, { mayFail: true }).status === 0;
}

function connects(port) {
  return there(
    `import { connect } from 'node:net'; connect(${port}, '127.0.0.1').once('connect', () => process.exit(0));`,
  );
}

function takesSample() {
  return (
    there(`
    const url = 'http://127.0.0.1:9090/api/v1/import/prometheus';
    const reply = await fetch(url, { method: 'POST', body: 'image_test{job="image"} 42\\n' });
    if (!reply.ok) throw new Error(await reply.text());`) && answers()
  );
}

function answers() {
  return there(`
    const reply = await fetch('http://127.0.0.1:9090/api/v1/query?query=image_test');
    const { data } = await reply.json();
    if (data.result[0]?.value[1] !== '42') process.exit(1);`);
}

function run(command, args, { cwd = folder, mayFail = false } = {}) {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 900_000 });
  if (done.status !== 0 && !mayFail)
    throw new Error(`${command} ${args.join(' ')}: ${done.error ?? ''}${done.stdout}${done.stderr}`);
  return done;
}

function check(holds, what) {
  if (!holds) throw new Error(`this does not hold: ${what}`);
  console.log(`✓ ${what}`);
}
