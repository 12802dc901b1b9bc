// Runs receiver cases of remote-write against the daemon's receiver, through sockets:
//   npm run conformance:remote-write -- <files or folders>
import { buildKernel } from './build-kernel.mjs';
import { bundleAndImport } from './lib/bundle.mjs';
import { ensureInstalled } from './lib/setup.mjs';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: npm run conformance:remote-write -- <files or folders>');
  process.exit(2);
}
ensureInstalled();
await buildKernel();
const { main } = await bundleAndImport('test/api/push/remote-write-cases.ts', 'conformance-remote-write');
process.exit(await main(paths));
