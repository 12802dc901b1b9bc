/** How src/main.ts becomes dist/main.js. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundle.mjs';
import { packagesIn } from './packages.mjs';
import { root } from './setup.mjs';

export const BUNDLE = join(root, 'dist', 'main.js');

/** Returns the folders of the packages that are in it. `options` are esbuild's own. */
export async function bundleDaemon(options = {}) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const { metafile } = await bundle(join(root, 'src', 'main.ts'), BUNDLE, {
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
    metafile: true,
    absWorkingDir: root,
    ...options,
  });
  return { packages: packagesIn(metafile) };
}
