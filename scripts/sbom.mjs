/**
 * `npm run sbom`: dist/sbom.cdx.json, what is inside of the daemon and its page as CycloneDX. npm knows all packages of the lock
 * file; the bundler knows which of them are in the bundles, and only those are listed. The same sources give the same file.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { bundleDaemon } from './lib/daemon.mjs';
import { bundlePage } from './lib/page.mjs';
import { ensureInstalled, root } from './lib/setup.mjs';

ensureInstalled();
await build();
const refs = new Set([
  // Its library is compiled into the kernel.
  refOf('node_modules/assemblyscript'),
  ...(await bundleDaemon({ write: false })).packages.map(refOf),
  ...(await bundlePage({ write: false })).packages.map(refOf),
]);
writeFileSync(join(root, 'dist', 'sbom.cdx.json'), `${JSON.stringify(only(everything(), refs), null, 2)}\n`);

/** `name@version`, as npm calls a package of a folder. */
function refOf(folder) {
  const { name, version } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  return `${name}@${version}`;
}

function everything() {
  const done = spawnSync('npm', ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (done.status !== 0) throw new Error(`npm sbom: ${done.stderr}`);
  return JSON.parse(done.stdout);
}

function only({ serialNumber, metadata, components, dependencies, ...rest }, wanted) {
  const own = metadata.component;
  const found = components.filter((one) => wanted.has(one['bom-ref']));
  if (found.length !== wanted.size) throw new Error(`npm sbom has ${found.length} of ${wanted.size} packages`);
  return {
    ...rest,
    // No time of making and no random number. npm takes the name from the folder.
    metadata: { tools: metadata.tools, component: { ...own, type: 'application', name: own['bom-ref'].split('@')[0] } },
    components: found.map((one) => ({ ...one, scope: 'required', properties: [] })),
    dependencies: dependencies
      .filter(({ ref }) => wanted.has(ref))
      .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => wanted.has(one)) }))
      .concat({ ref: own['bom-ref'], dependsOn: [...wanted].sort() }),
  };
}
