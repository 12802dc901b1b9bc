/** Bundles web/ into dist/web: index.html and, under assets/, files whose names change with what is in them. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { packagesIn } from './packages.mjs';
import { root } from './setup.mjs';

const FOLDER = join(root, 'dist', 'web');
export const PAGE = join(FOLDER, 'index.html');

/** Returns the folders of the packages that are in it. With `write: false` that is all it does. */
export async function bundlePage({ write = true } = {}) {
  const { build } = await import('esbuild');
  const assets = join(FOLDER, 'assets');
  if (write) {
    rmSync(FOLDER, { recursive: true, force: true });
    mkdirSync(assets, { recursive: true });
  }
  const common = {
    write,
    outdir: assets,
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    bundle: true,
    target: ['chrome110', 'firefox115', 'safari16'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    metafile: true,
    legalComments: 'none',
    tsconfig: join(root, 'web', 'tsconfig.json'),
    absWorkingDir: root,
    logLevel: 'warning',
  };
  const worker = await build({ ...common, entryPoints: [join(root, 'web', 'answer-worker.ts')], format: 'iife' });
  const workerName = basename(Object.keys(worker.metafile.outputs)[0]);
  const { metafile } = await build({
    ...common,
    entryPoints: [join(root, 'web', 'main.tsx')],
    splitting: true,
    format: 'esm',
    define: { ANSWER_WORKER: JSON.stringify(`/assets/${workerName}`) },
  });
  if (write) writePage(metafile, assets);
  return { packages: packagesIn(metafile) };
}

function writePage(metafile, assets) {
  const outputs = Object.entries(metafile.outputs);
  const [script, entry] = outputs.find(([, { entryPoint }]) => entryPoint === 'web/main.tsx');
  const html = readFileSync(join(root, 'web', 'index.html'), 'utf8')
    .replace('<!-- styles -->', `<link rel="stylesheet" href="/assets/${basename(entry.cssBundle)}" />`)
    .replace('<!-- scripts -->', `<script type="module" src="/assets/${basename(script)}"></script>`);
  copyFileSync(join(root, 'web', 'favicon.svg'), join(assets, 'favicon.svg'));
  writeFileSync(PAGE, html);
}
