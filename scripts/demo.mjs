/**
 * `npm run demo [-- --seconds=120] [-- --free-ports]`: installs and builds what is missing, then shows a day of an inference
 * service whose replicas follow the load (examples/demo). Listens where the daemon always does, unless on free ports.
 */
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { ensureInstalled } from './lib/setup.mjs';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '120' }, 'free-ports': { type: 'boolean', default: false } },
});
const seconds = Number(values.seconds);
if (!Number.isInteger(seconds) || seconds < 10) {
  console.error(`cannot use --seconds: got ${values.seconds}, want a whole number from 10`);
  process.exit(1);
}
ensureInstalled();
await build();
const { bundleAndImport } = await import('./lib/bundle.mjs');
// Two folders deep, as its sources are: they find files of the project from where they are.
const { runDemo } = await bundleAndImport('examples/demo/demo.ts', 'demo/demo');
const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => abort.abort());
const flags = values['free-ports']
  ? []
  : ['--web.listen-address=127.0.0.1:9090', '--keda.listen-address=127.0.0.1:6000'];
try {
  await runDemo({ seconds, flags, print: (line) => console.log(line), signal: abort.signal });
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
