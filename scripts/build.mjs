/**
 * `npm run build`: the store's kernel (AssemblyScript → WebAssembly), then dist/main.js, the daemon as one bundle.
 * Does nothing when its inputs have not changed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureInstalled, filesBelow, root, whenChanged } from './lib/setup.mjs';

const BUNDLE = join(root, 'dist', 'main.js');

export async function build() {
  const inputs = [
    ...filesBelow(join(root, 'src'), new Set(['generated'])),
    ...['package.json', 'package-lock.json', 'scripts/build.mjs'].map((name) => join(root, name)),
  ];
  await whenChanged(join(root, 'dist', '.built'), inputs, [BUNDLE], bundle);
}

async function bundle() {
  const { build: esbuild } = await import('esbuild');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  await esbuild({
    entryPoints: [join(root, 'src', 'main.ts')],
    outfile: BUNDLE,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: 'external',
    legalComments: 'none',
    define: { TIDEGAUGE_VERSION: JSON.stringify(version) },
    // Bundled CommonJS packages ask for `require`, which a module does not have.
    banner: {
      js: "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);\nconst __filename = import.meta.filename ?? '';\nconst __dirname = import.meta.dirname ?? '';",
    },
    logLevel: 'warning',
  });
}

if (import.meta.url === `file://${process.argv[1]}`) {
  ensureInstalled();
  await build();
}
