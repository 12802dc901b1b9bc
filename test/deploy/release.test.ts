/**
 * What leaves the house: the package that `npm pack` makes, installed and started by npx in an empty folder; the image's recipe
 * (`npm run image` builds and starts what it says); the list of what is inside; one version everywhere.
 */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import tap, { type Test, test } from 'tap';
import { runProgram, startProgram, temporaryFolder, waitForOutput } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  engines: { node: string };
};
const PACKAGE_BYTES_MAX = 3_000_000;

/** The package, in a folder of its own, made with its scripts as who publishes it does: the list of what is inside is one. */
let packing: Promise<string> | null = null;
tap.teardown(async () => packing && rm(dirname(await packing), { recursive: true, force: true }));
function packed(): Promise<string> {
  packing ??= pack();
  return packing;
}

async function pack(): Promise<string> {
  const { path } = await temporaryFolder();
  const done = await runProgram('npm', ['pack', '--silent', `--pack-destination=${path}`], { cwd: root });
  if (done.code !== 0) throw new Error(`npm pack: ${done.stderr}`);
  return join(path, `tidegauge-${manifest.version}.tgz`);
}

test('the package is what it should be, and npx starts it', {
  skip: skipWithout('npm', 'npx'),
  timeout: 240_000,
}, async (t) => {
  const tarball = await packed();
  t.ok(statSync(tarball).size < PACKAGE_BYTES_MAX, `${statSync(tarball).size} bytes`);
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const away = join(folder.path, 'away');
  mkdirSync(away);
  // No cache, and nothing of ours: what a package needs has to come from the registry, or be inside.
  const env = { npm_config_cache: join(folder.path, 'cache'), npm_config_update_notifier: 'false' };
  const npm = (...args: string[]) => runProgram('npm', [...args, '--no-audit', '--no-fund'], { cwd: away, env });
  const installed = await npm('install', '--silent', tarball);
  t.equal(installed.code, 0, installed.stderr);
  t.strictSame(
    readdirSync(join(away, 'node_modules')).filter((name) => !name.startsWith('.')),
    ['tidegauge'],
    'it is one package',
  );
  insideOf(t, join(away, 'node_modules/tidegauge'));
  const version = await runProgram('npx', ['--no-install', 'tidegauge', '--version'], { cwd: away, env });
  t.equal(version.stdout, `tidegauge ${manifest.version}\n`, version.stderr);
  await startsElsewhere(t, away, env);
});

/** What is in the package: the bundle, the page, the list of what is in them; no sources, no marks of the build. */
function insideOf(t: Test, folder: string): void {
  const inside = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  const page = (path: string): boolean => /^dist\/web\/(?:index\.html|assets\/[\w.-]+\.(?:js|css|svg))$/.test(path);
  t.ok(inside.filter(page).length >= 4, 'the page');
  t.strictSame(
    inside.filter((path) => !page(path)).sort(),
    ['CHANGELOG.md', 'LICENSE', 'README.md', 'dist/main.js', 'dist/sbom.cdx.json', 'package.json'],
    'and nothing else',
  );
}

/** By npx, away from the sources: it is ready, takes a sample and answers, and writes nothing. */
async function startsElsewhere(t: Test, folder: string, env: NodeJS.ProcessEnv): Promise<void> {
  const before = readdirSync(folder, { recursive: true }).length;
  const addresses = ['web', 'otlp.grpc', 'otlp.http', 'keda', 'kubernetes'].map(
    (name) => `--${name}.listen-address=127.0.0.1:0`,
  );
  const program = await startProgram('npx', ['--no-install', 'tidegauge', '--log.format=json', ...addresses], {
    cwd: folder,
    env,
  });
  // npx hands no signal on to what it started.
  const stop = async (): Promise<void> => {
    for (const pid of below(program.pid)) process.kill(pid, 'SIGTERM');
    await program.stop();
  };
  t.teardown(stop);
  const [, listen] = await waitForOutput(program, /"event":"ready".*?"listen":(\{.*?\})/, 60_000);
  const url = `http://${(JSON.parse(listen!) as { web: string }).web}`;
  const taken = await fetch(`${url}/api/v1/import/prometheus`, { method: 'POST', body: 'packed{job="npx"} 42\n' });
  t.ok(taken.ok, await taken.text());
  t.match(await (await fetch(`${url}/api/v1/query?query=packed`)).text(), /"42"/);
  t.match(await (await fetch(url)).text(), /<script type="module" src="\/assets\//, 'with its page');
  await stop();
  t.ok(
    await waitFor(async () => !(await answers(url)) && 'gone', { timeoutMs: 60_000, what: 'the daemon to be gone' }),
  );
  t.equal(readdirSync(folder, { recursive: true }).length, before, 'nothing was written');
}

/** Processes below one, by what Linux says; none of one that has ended. */
function below(pid: number): readonly number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    return children.flatMap((child) => [child, ...below(child)]);
  } catch {
    return [];
  }
}

const answers = (url: string): Promise<boolean> =>
  fetch(url).then(
    () => true,
    () => false,
  );

test('the image: from the lock file, on distroless Node, as nobody, with what the build needs', async (t) => {
  const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
  t.match(dockerfile, /^RUN npm ci --ignore-scripts /m);
  t.match(dockerfile, /^ARG BASE_IMAGE=gcr\.io\/distroless\/nodejs24-debian12:nonroot$/m);
  t.match(dockerfile, /^FROM \$\{BASE_IMAGE\}$/m);
  t.match(dockerfile, /^USER 65532:65532$/m);
  const ignored = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n').filter(Boolean);
  for (const [, sources] of dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
    for (const source of sources!.split(' ')) {
      t.ok(statSync(join(root, source)), source);
      t.notOk(ignored.includes(source.replace(/^\.\//, '')), `${source} reaches the build`);
    }
  }
  const chart = readFileSync(join(root, 'deploy/helm/tidegauge/values.yaml'), 'utf8');
  for (const port of /^EXPOSE (.*)$/m.exec(dockerfile)![1]!.split(' ')) t.match(chart, new RegExp(`: ${port}$`, 'm'));
});

test('the list of what is inside names what was bundled, with licences', {
  skip: skipWithout('npm'),
  timeout: 240_000,
}, async (t) => {
  await packed();
  const text = readFileSync(join(root, 'dist/sbom.cdx.json'), 'utf8');
  t.notMatch(text, /serialNumber|timestamp/, 'nothing that differs from one time to the next');
  const { bomFormat, components, metadata } = JSON.parse(text) as {
    bomFormat: string;
    components: { name: string; version: string; licenses?: object[] }[];
    metadata: { component: { name: string; version: string } };
  };
  t.equal(bomFormat, 'CycloneDX');
  t.match(metadata.component, { name: 'tidegauge', version: manifest.version });
  const names = new Set(components.map(({ name }) => name));
  for (const name of [
    'fastify',
    'chevrotain',
    're2js',
    'yaml',
    'preact',
    'uplot',
    '@codemirror/state',
    'assemblyscript',
  ])
    t.ok(names.has(name), name);
  for (const name of ['tap', 'esbuild', 'typescript', '@grpc/grpc-js'])
    t.notOk(names.has(name), `${name} is not inside`);
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string }>;
  };
  const locked = new Set(
    Object.entries(lock.packages).map(([path, { version }]) => `${path.replace(/^.*node_modules\//, '')}@${version}`),
  );
  for (const { name, version, licenses } of components) {
    t.ok(locked.has(`${name}@${version}`), `${name}@${version} is locked`);
    t.ok(licenses !== undefined && licenses.length > 0, `${name} has a licence`);
  }
});

test('one version: what repeats that of package.json says the same', async (t) => {
  const { version } = manifest;
  const read = (path: string): string => readFileSync(join(root, path), 'utf8');
  t.equal((JSON.parse(read('package-lock.json')) as { version: string }).version, version);
  const said = ['README.md', 'docs/quickstart.md', 'deploy/helm/tidegauge/Chart.yaml', ...plainManifests()].flatMap(
    (path) =>
      [...read(path).matchAll(/(?:tidegauge:|^(?:appVersion|version): "?)(\d+\.\d+\.\d+)/gm)].map((match) => match[1]),
  );
  t.ok(said.length >= 7, `${said.length} places`);
  t.strictSame([...new Set(said)], [version]);
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.ts'),
  );
  t.strictSame(
    sources.filter((path) => read(join('src', path)).includes(`'${version}'`)),
    [],
    'no source repeats it',
  );
});

const plainManifests = (): readonly string[] =>
  ['default', 'external-metrics', 'kedify'].map((name) => `deploy/kustomize/${name}/tidegauge.yaml`);

test('the changelog: the newest on top, and each line says what kind of change it is', async (t) => {
  const text = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  const [first, ...older] = [...text.matchAll(/^## (.*)$/gm)].map((match) => match[1]!);
  t.ok(first === 'Unreleased' || first === manifest.version, `${first} is on top`);
  t.ok(older.every((heading) => /^\d+\.\d+\.\d+/.test(heading)));
  const lines = text.split('\n').filter((line) => line.startsWith('- '));
  for (const line of lines) t.match(line, /^- \[(?:CHANGE|FEATURE|PERF|BUGFIX|SECURITY)\] \S/);
});
