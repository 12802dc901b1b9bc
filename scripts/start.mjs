/** `npm start [-- flags]`: installs and builds what is missing, then runs the daemon in this very process. */
import { join } from 'node:path';
import { build } from './build.mjs';
import { ensureInstalled, root } from './lib/setup.mjs';

ensureInstalled();
await build();
const main = join(root, 'dist', 'main.js');
process.argv = [process.argv[0], main, ...process.argv.slice(2)];
await import(main);
