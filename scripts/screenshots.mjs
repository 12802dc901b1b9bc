/** `npm run screenshots`: drives the page as its test does, and keeps the pictures that docs/page.md shows. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { ensureInstalled, root } from './lib/setup.mjs';

const SHOWN = ['scaling-dark.png', 'why-dark.png', 'explore-light.png', 'scaling-phone.png'];

ensureInstalled();
await build();
const runner = join(root, 'node_modules', 'tap', 'dist', 'esm', 'run.mjs');
const { status } = spawnSync(process.execPath, [runner, '--disable-coverage', 'test/journeys/page.test.ts'], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, TIDEGAUGE_REQUIRE_PROGRAMS: '1' },
});
if (status === 0) {
  mkdirSync(join(root, 'docs', 'images'), { recursive: true });
  for (const name of SHOWN) copyFileSync(join(root, 'build', 'screenshots', name), join(root, 'docs', 'images', name));
}
process.exitCode = status ?? 1;
