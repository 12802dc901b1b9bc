/**
 * `npm run build`: the store's kernel (AssemblyScript → WebAssembly), then dist/main.js, the daemon as one bundle, and
 * dist/web, the page that it serves.
 * Does nothing when its inputs have not changed.
 */
import { join } from 'node:path';
import { ensureInstalled, filesBelow, root, whenChanged } from './lib/setup.mjs';

export async function build() {
  const { buildKernel } = await import('./build-kernel.mjs');
  await buildKernel();
  const { bundleDaemon, BUNDLE } = await import('./lib/daemon.mjs');
  const inputs = [
    ...filesBelow(join(root, 'src'), new Set(['generated'])),
    ...[
      'package.json',
      'package-lock.json',
      'scripts/lib/daemon.mjs',
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

if (import.meta.url === `file://${process.argv[1]}`) {
  ensureInstalled();
  await build();
}
