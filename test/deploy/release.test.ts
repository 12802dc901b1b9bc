/**
 * What leaves the house: the package that `npm pack` makes, started in an empty folder, with a read-only root as far as can be
 * had without a container engine; the image's recipe; the list of what is inside; one version everywhere.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { runProgram, startProgram, temporaryFolder, waitForOutput } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  engines: { node: string };
};
const PACKAGE_BYTES_MAX = 3_000_000;

test('the package holds the bundle and starts in an empty folder', { skip: skipWithout('npm', 'tar') }, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const packed = await runProgram(
    'npm',
    ['pack', '--silent', '--ignore-scripts', `--pack-destination=${folder.path}`],
    {
      cwd: root,
    },
  );
  t.equal(packed.code, 0, packed.stderr);
  const [tarball] = readdirSync(folder.path);
  t.equal(tarball, `tidegauge-${manifest.version}.tgz`);
  t.ok(statSync(join(folder.path, tarball!)).size < PACKAGE_BYTES_MAX);
  t.equal((await runProgram('tar', ['xzf', tarball!], { cwd: folder.path })).code, 0);
  const inside = readdirSync(join(folder.path, 'package'), { recursive: true, encoding: 'utf8' });
  t.ok(['dist/main.js', 'README.md', 'LICENSE', 'CHANGELOG.md'].every((path) => inside.includes(path)));
  t.notOk(
    inside.some((path) => /node_modules|^src|^test|\.ts$/.test(path)),
    'and no sources',
  );
  const main = join(folder.path, 'package/dist/main.js');
  const version = await runProgram(process.execPath, [main, '--version'], { cwd: folder.path });
  t.equal(version.stdout, `tidegauge ${manifest.version}\n`);
  await startsElsewhere(t, main, folder.path);
});

/** As the image does it: away from the sources, with nothing in the environment, and writing nowhere. */
async function startsElsewhere(t: Test, main: string, folder: string): Promise<void> {
  const before = readdirSync(folder, { recursive: true }).length;
  const addresses = ['web', 'otlp.grpc', 'otlp.http', 'keda', 'kubernetes'].map(
    (name) => `--${name}.listen-address=127.0.0.1:0`,
  );
  const program = await startProgram(process.execPath, [main, 'serve', '--log.format=json', ...addresses], {
    cwd: folder,
    env: { HOME: '/nonexistent' },
  });
  t.teardown(() => program.stop());
  await waitForOutput(program, /"event":"ready"/, 20_000);
  t.equal(await program.stop(), 0);
  t.equal(readdirSync(folder, { recursive: true }).length, before, 'nothing was written');
}

test('the image: from the lock file, on distroless Node, as nobody, with what the build needs', async (t) => {
  const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
  t.match(dockerfile, /^RUN npm ci /m);
  t.match(dockerfile, /^FROM gcr\.io\/distroless\/nodejs24-debian12:nonroot$/m);
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

test('the list of what is inside names every library with its licence', { skip: skipWithout('npm') }, async (t) => {
  const done = await runProgram('npm', ['sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev', '--package-lock-only'], {
    cwd: root,
  });
  t.equal(done.code, 0, done.stderr);
  const { components, metadata } = JSON.parse(done.stdout) as {
    components: { name: string; licenses?: object[] }[];
    metadata: { component: { version: string } };
  };
  t.equal(metadata.component.version, manifest.version);
  t.ok(components.length > 10);
  t.strictSame(
    components.filter(({ licenses }) => licenses === undefined).map(({ name }) => name),
    [],
  );
});
