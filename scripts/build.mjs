/**
 * `npm run build`: the store's kernel (AssemblyScript → WebAssembly), then dist/main.js, the daemon as one bundle, and
 * dist/web, the page that it serves.
 * Does nothing when its inputs have not changed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureInstalled, filesBelow, root, whenChanged } from './lib/setup.mjs';

const BUNDLE = join(root, 'dist', 'main.js');

export async function build() {
  const { buildKernel } = await import('./build-kernel.mjs');
  await buildKernel();
  const inputs = [
    ...filesBelow(join(root, 'src'), new Set(['generated'])),
    ...[
      'package.json',
      'package-lock.json',
      'scripts/build.mjs',
      'scripts/lib/bundle.mjs',
      'scripts/lib/left-out.cjs',
    ].map((name) => join(root, name)),
  ];
  await whenChanged(join(root, 'dist', '.built'), inputs, [BUNDLE], bundleDaemon);
  await buildPage();
}

async function buildPage() {
  const inputs = [
    ...filesBelow(join(root, 'web')),
    ...['package-lock.json', 'scripts/lib/page.mjs'].map((name) => join(root, name)),
  ];
  const { bundlePage, PAGE } = await import('./lib/page.mjs');
  await whenChanged(join(root, 'dist', '.page-built'), inputs, [PAGE], bundlePage);
}

async function bundleDaemon() {
  const { bundle } = await import('./lib/bundle.mjs');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  await bundle(join(root, 'src', 'main.ts'), BUNDLE, {
    // Half of a start is the compiler reading the source: minified, the daemon is ready in two thirds of the time.
    // `node --enable-source-maps` reads names back from main.js.map.
    minify: true,
    sourcemap: 'linked',
    // Fastify would load them only for schemas that check something (src/api/http.ts). With them the bundle is a sixth larger.
    alias: {
      '@fastify/ajv-compiler': join(root, 'scripts', 'lib', 'left-out.cjs'),
      '@fastify/fast-json-stringify-compiler': join(root, 'scripts', 'lib', 'left-out.cjs'),
    },
    define: { TIDEGAUGE_VERSION: JSON.stringify(version) },
  });
}

if (import.meta.url === `file://${process.argv[1]}`) {
  ensureInstalled();
  await build();
}
