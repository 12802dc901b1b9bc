/** How TypeScript becomes one file that Node runs: the daemon (build.mjs) and the benches (bench.mjs) alike. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './setup.mjs';

// Bundled CommonJS packages ask for `require`, which a module does not have.
const BANNER =
  "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);\nconst __filename = import.meta.filename ?? '';\nconst __dirname = import.meta.dirname ?? '';";

/** Bundles `entry` into `outfile`. `options` are esbuild's own, for what differs. */
export async function bundle(entry, outfile, options = {}) {
  const { build } = await import('esbuild');
  return build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: 'external',
    legalComments: 'none',
    banner: { js: BANNER },
    logLevel: 'warning',
    ...options,
  });
}

/** Bundles a TypeScript file of this project into build/ and imports it: Node 20 runs no TypeScript by itself. */
export async function bundleAndImport(entry, name) {
  const outfile = join(root, 'build', `${name}.mjs`);
  await bundle(join(root, entry), outfile);
  return import(pathToFileURL(outfile).href);
}
